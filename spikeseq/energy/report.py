"""Firing rates, operation counts and energy at 45 nm, on real data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..blocks.sdtcm import SDTCM
from ..tracing import PRODUCTS, Event, Trace, trace
from .formulas import ACCUMULATE, MAC, MULTIPLY, S4D_STATES, paper_layer_energy, s4d_channel_energy
from .table import table


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
    dense_joule: a network of the same shape without spikes or dynamics, every product of MACs. s4d_joule: the same
    with an S4D layer for each neuron that has dynamics.
    """

    rows: tuple[EnergyRow, ...]
    paper_joule: float | None
    samples: int
    sequences: int
    steps: float
    levels: int
    dense_joule: float
    s4d_joule: float

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
                table(head, body, left=4),
                f"per sample, mean of {self.samples}: {self.sequences / self.samples:g} sequence(s), "
                f"T = {self.steps:g} steps, N = {self.levels} level(s), {self.slots:g} slots",
                f"paper's count: {paper} (SD-TCM layers only, one direction, one document)",
                f"full count:    {self.full_joule * 1e3:.6g} mJ (every row above)",
                f"beside it:     {self.dense_joule * 1e3:.6g} mJ for a dense network of the same shape, "
                f"{self.s4d_joule * 1e3:.6g} mJ with S4D ({S4D_STATES} states a channel) for its neurons",
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
    outside = [event for event in traced.events if not event.dynamics]
    rows = tuple(_energy_row(event, traced.samples) for event in outside)
    levels = max((event.levels or 1 for event in traced.events), default=1)
    dense = sum(_dense_joule(event) for event in outside if event.kind != "neuron") / traced.samples
    return EnergyReport(
        rows, _paper_joule(model, traced), traced.samples, traced.sequences, traced.steps, levels, dense,
        dense + _s4d_joule(outside) / traced.samples,
    )  # fmt: skip


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


def _dense_joule(event: Event) -> float:
    return MULTIPLY * event.multiplies + ACCUMULATE * event.accumulates + MAC * event.macs


def _s4d_joule(events: list[Event]) -> float:
    neurons = (event for event in events if event.kind == "neuron" and event.values and event.multiplies)
    return sum(event.values.elements for event in neurons if event.values) * s4d_channel_energy()


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
