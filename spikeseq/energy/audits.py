"""The audit of what is spike-driven, on real data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..tracing import PRODUCTS, Event, trace
from .table import table


@dataclass(frozen=True)
class AuditRow:
    """One matrix product, convolution or gate and what entered it. decides: whether the verdict counts it."""

    name: str
    part: str
    kind: str
    shape: str
    input: str
    rate: float | None
    spike_driven: bool
    decides: bool


@dataclass(frozen=True)
class AuditReport:
    """All products of a model. `spike_driven`: every product that decides had binary or integer input.

    The products inside the blocks decide (in a model without blocks, all of them); encoder and head do not, nor do
    products inside a neuron, which are its dynamics. `exceptions` names all products whose input was float.
    """

    rows: tuple[AuditRow, ...]

    @property
    def spike_driven(self) -> bool:
        deciding = [row.spike_driven for row in self.rows if row.decides]
        return bool(deciding) and all(deciding)

    @property
    def exceptions(self) -> tuple[str, ...]:
        return tuple(f"{row.name} ({row.part})" for row in self.rows if not row.spike_driven)

    def __str__(self) -> str:
        head = ("product", "part", "kind", "shape", "input", "rate %", "spike-driven")
        body = [
            (
                row.name, row.part, row.kind, row.shape, row.input,
                "" if row.rate is None else f"{100 * row.rate:.3f}", "yes" if row.spike_driven else "NO",
            )
            for row in self.rows
        ]  # fmt: skip
        verdict = "spike-driven" if self.spike_driven else "NOT spike-driven"
        named = ", ".join(self.exceptions) or "none"
        return f"{table(head, body, left=5)}\nverdict on the blocks: {verdict}; products with float input: {named}"


def audit(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor | None]) -> AuditReport:
    """Run the model on `batch`, x or (x, lengths), and list every product that took place.

    Matrix products, convolutions, attention, and gates (`nn.GLU`), whose product of two activations no spike drives.
    An input is spike-driven if it held only {0, a} or a * {0, 1, ..., N}: the scalar a folds into the weight.
    """
    products = [event for event in trace(model, batch).events if event.kind in PRODUCTS]
    return AuditReport(tuple(_audit_row(event) for event in products))


def _audit_row(event: Event) -> AuditRow:
    assert event.values is not None
    spikes = event.values.kind != "float"
    part = "neuron dynamics" if event.dynamics else event.part
    return AuditRow(
        name=event.name,
        part=part,
        kind=event.kind,
        shape=event.shape,
        input=str(event.values),
        rate=event.values.rate if spikes else None,
        spike_driven=spikes,
        decides=part in ("block", "model"),
    )
