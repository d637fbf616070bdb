"""Whether the numbers of a tensor are spikes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

KINDS = ("binary", "integer", "float")
MAX_LEVELS = 16  # larger integers are dense values: v accumulates cost more than one multiply-accumulate


@dataclass
class Values:
    """What a tensor held: "binary" {0, a}, "integer" a * {0, +-1, ..., +-levels} or "float"; a is `scale`."""

    kind: str
    scale: float
    levels: int
    total: float  # sum of |v| / scale: spikes, integers by their value
    elements: int
    signed: bool = False

    @property
    def rate(self) -> float:
        """Spikes per neuron and step; above 1 for busy integer neurons."""
        return self.total / self.elements

    def __str__(self) -> str:
        low = -self.levels if self.signed else 0
        name = f"integer {low}..{self.levels}" if self.kind == "integer" else self.kind
        return name if self.kind == "float" or self.scale == 1 else f"{name} x {self.scale:.3g}"


def classify(x: Tensor) -> Values:
    """Whether the numbers of `x` are spikes, up to one scalar factor."""
    x = x.detach().double()
    elements = max(x.numel(), 1)
    size = x.abs()
    some = size[size > 0]
    if not len(some):
        return Values("binary", 1.0, 1, 0.0, elements)
    scale = float(some.min())
    units = size / scale
    levels = float(units.max())
    if levels > MAX_LEVELS + 0.5 or bool((units - units.round()).abs().max() > 1e-5):
        return Values("float", 1.0, 0, float(size.sum()), elements)
    units = units.round()
    if 1 < scale <= MAX_LEVELS and scale == round(scale):  # integer spikes among which no 1 occurred
        units, levels, scale = units * scale, levels * scale, 1.0
    signed = bool((x < 0).any())
    kind = "binary" if round(levels) == 1 and not signed else "integer"
    return Values(kind, scale, round(levels), float(units.sum()), elements, signed)


def less_spiking(a: Values, b: Values) -> Values:
    """The one that is less like spikes."""
    return max(a, b, key=lambda v: (KINDS.index(v.kind), v.levels))
