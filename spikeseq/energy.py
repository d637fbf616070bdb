"""Firing rates, operation counts, energy at 45 nm, and the audit of what is spike-driven; all on real data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from .blocks.sdtcm import SDTCM
from .tracing import Event, Trace, trace

# joule an operation, 32-bit floating point in 45 nm CMOS (Horowitz, ISSCC 2014)
MULTIPLY = 3.7e-12
ACCUMULATE = 0.9e-12
MAC = 4.6e-12


def paper_layer_energy(
    width: int,
    token_rate: float,
    channel_rate: float | None,
    multiplies: int | None = None,
    accumulates: int | None = None,
) -> float:
    """Joule of one SD-TCM layer and step by the PRF paper's formula (arXiv 2410.03530), D = width:

        3.7 pJ * 5 D + 0.9 pJ * 3 D + 0.9 pJ * (R_token D^2 + D) + 0.9 pJ * (R_channel D^2 + D)

    Rates are spikes per neuron and step, in 0..1 for binary neurons. channel_rate None: no channel mixer.
    multiplies, accumulates: the neuron's own arithmetic a step, the PRF's 5 D and 3 D unless given.
    """
    joule = MULTIPLY * (5 * width if multiplies is None else multiplies)
    joule += ACCUMULATE * (3 * width if accumulates is None else accumulates)
    for rate in (token_rate, channel_rate):
        if rate is not None:
            joule += ACCUMULATE * (rate * width**2 + width)
    return joule


@dataclass(frozen=True)
class EnergyRow:
    """One layer, per sample. input: what entered a product; rate: spikes per neuron and step, of a neuron or input."""

    name: str
    part: str
    kind: str
    input: str
    rate: float | None
    multiplies: float
    accumulates: float
    macs: float

    @property
    def joule(self) -> float:
        return MULTIPLY * self.multiplies + ACCUMULATE * self.accumulates + MAC * self.macs


@dataclass(frozen=True)
class EnergyReport:
    """The full count, row by row, beside the paper's; joule and operations per sample.

    paper_joule: the paper's formula over the SD-TCM layers at the measured rates: one direction and one document, no
    encoder, norm or head; None for a model without such layers. steps: T, mean valid steps a sequence. levels: N, the
    largest integer spike, 1 for binary neurons. slots: T * N, the steps after integer spikes are unrolled to unary.
    """

    rows: tuple[EnergyRow, ...]
    paper_joule: float | None
    samples: int
    sequences: int
    steps: float
    levels: int

    @property
    def full_joule(self) -> float:
        return sum(row.joule for row in self.rows)

    @property
    def slots(self) -> float:
        return self.steps * self.levels

    @property
    def firing_rates(self) -> dict[str, float]:
        """Spikes per neuron and step of each neuron layer by name (integer spikes by their value)."""
        return {row.name: row.rate for row in self.rows if row.kind == "neuron" and row.rate is not None}

    def __str__(self) -> str:
        head = ("layer", "part", "kind", "input", "rate %", "multiplies", "accumulates", "MACs", "nJ")
        body = [
            (
                row.name, row.part, row.kind, row.input, "" if row.rate is None else f"{100 * row.rate:.3f}",
                f"{row.multiplies:,.0f}", f"{row.accumulates:,.0f}", f"{row.macs:,.0f}", f"{row.joule * 1e9:,.3f}",
            )
            for row in self.rows
        ]  # fmt: skip
        paper = "none (no SD-TCM layers)" if self.paper_joule is None else f"{self.paper_joule * 1e3:.6g} mJ"
        return "\n".join(
            [
                _table(head, body, left=4),
                f"per sample, mean of {self.samples}: {self.sequences / self.samples:g} sequence(s), "
                f"T = {self.steps:g} steps, N = {self.levels} level(s), {self.slots:g} slots",
                f"paper's count: {paper} (SD-TCM layers only, one direction, one document)",
                f"full count:    {self.full_joule * 1e3:.6g} mJ (every row above)",
                "45 nm: multiply 3.7 pJ, accumulate 0.9 pJ, MAC 4.6 pJ. A scalar factor on spikes (alpha) folds into "
                "the weights. Not counted: comparisons, activation functions, memory traffic.",
            ]
        )


def energy(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor | None]) -> EnergyReport:
    """Run the model on `batch`, x or (x, lengths), and count what it did.

    Products with spike inputs count accumulates, one a spike and target and v for an integer spike v; products with
    float inputs count MACs; a bias counts one accumulate an output. Neurons count their own arithmetic
    (`Neuron.dynamics_cost`), norms their eval form, residual sums and the mean over time their additions. Both
    directions and both documents count. Elementwise functions outside such modules are not seen.
    """
    traced = trace(model, batch)
    rows = tuple(_energy_row(event, traced.samples) for event in traced.events if not event.dynamics)
    levels = max((event.levels or 1 for event in traced.events), default=1)
    return EnergyReport(rows, _paper_joule(model, traced), traced.samples, traced.sequences, traced.steps, levels)


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
        return f"{_table(head, body, left=5)}\nverdict on the blocks: {verdict}; products with float input: {named}"


def audit(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor | None]) -> AuditReport:
    """Run the model on `batch`, x or (x, lengths), and list every product that took place.

    Matrix products, convolutions, attention, and gates (`nn.GLU`), whose product of two activations no spike drives.
    An input is spike-driven if it held only {0, a} or a * {0, 1, ..., N}: the scalar a folds into the weight.
    """
    products = [event for event in trace(model, batch).events if event.kind in PRODUCTS]
    return AuditReport(tuple(_audit_row(event) for event in products))


PRODUCTS = ("linear", "matmul", "convolution", "attention", "gate")


def _energy_row(event: Event, samples: int) -> EnergyRow:
    values = event.values
    spikes = values is not None and values.kind != "float"
    product = event.kind in PRODUCTS
    accumulates = event.accumulates + (event.spike_accumulates if product and spikes else 0.0)
    return EnergyRow(
        name=event.name,
        part=event.part,
        kind=event.kind,
        input=str(values) if product else "",
        rate=values.rate if values is not None and spikes else None,
        multiplies=event.multiplies / samples,
        accumulates=accumulates / samples,
        macs=0.0 if spikes else event.macs / samples,
    )


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


def _paper_joule(model: nn.Module, traced: Trace) -> float | None:
    """The paper's formula, a sequence, summed over SD-TCM layers at their measured rates."""
    rates = {event.name: event.values.rate for event in traced.events if event.kind == "neuron" and event.values}
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, SDTCM)]
    if not layers:
        return None
    joule = 0.0
    for name, layer in layers:
        prefix = f"{name}." if name else ""
        cost = layer.neuron.dynamics_cost()
        channel_rate = rates.get(f"{prefix}spatial")
        joule += paper_layer_energy(
            layer.width, rates[f"{prefix}neuron"], channel_rate, cost["multiplies"], cost["accumulates"]
        )
    return joule * traced.steps


def _table(head: tuple[str, ...], body: Iterable[tuple[str, ...]], left: int) -> str:
    """Aligned columns, the first `left` of them to the left."""
    lines = [head, *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
