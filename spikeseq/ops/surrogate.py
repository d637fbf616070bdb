"""Spike functions: a hard forward, a stated surrogate derivative.

Binary kinds fire `s = H(u - V)` with `H(z) = 1 if z >= 0 else 0`; `integer` fires `s = round(clip(u / V, 0, N))`.
The backward pass multiplies the upstream gradient by `derivative(u, V)`, with `z = u - V`:

    atan(alpha)      (alpha / 2) / (1 + (pi * alpha * z / 2)^2)
    rect(width)      1 / width where |z| < width / 2, else 0
    sigmoid(alpha)   alpha * sig(alpha * z) * (1 - sig(alpha * z))
    triangle(width)  max(0, 1 - |z| / width) / width
    integer(levels)  1 / V where 0 <= u / V <= levels, else 0      (straight-through; "I-LIF", arXiv 2602.01133)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["atan", "rect", "sigmoid", "triangle", "integer"]
KINDS: tuple[Kind, ...] = ("atan", "rect", "sigmoid", "triangle", "integer")


@dataclass(frozen=True)
class Surrogate:
    """A spike function: `kind` names the formula (see the module's table), `parameter` its alpha, width or levels."""

    kind: Kind
    parameter: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"surrogate kind: expected one of {KINDS}, got {self.kind!r}")
        name = "levels" if self.kind == "integer" else "a finite parameter"
        if not (math.isfinite(self.parameter) and self.parameter > 0):
            raise ValueError(f"surrogate {self.kind}: expected {name} > 0, got {self.parameter}")
        if self.kind == "integer" and not (self.parameter == int(self.parameter) and 1 <= self.parameter <= 2**20):
            raise ValueError(
                f"integer spikes: expected levels to be a whole number from 1 to 2^20, got {self.parameter}"
            )

    @property
    def levels(self) -> int | None:
        """The largest integer spike, or None for binary spikes."""
        return int(self.parameter) if self.kind == "integer" else None

    def fire(self, membrane: Tensor, threshold: Tensor, strict: bool) -> Tensor:
        """Spikes without gradient, in the membrane's dtype."""
        if self.kind == "integer":
            return torch.round(torch.clamp(membrane * threshold.reciprocal(), 0.0, self.parameter))
        fired = membrane > threshold if strict else membrane >= threshold
        return fired.to(membrane.dtype)

    def derivative(self, membrane: Tensor, threshold: Tensor) -> Tensor:
        """The stated stand-in for ds/du."""
        p = self.parameter
        if self.kind == "integer":
            inverse = threshold.reciprocal()
            ratio = membrane * inverse
            return ((ratio >= 0) & (ratio <= p)).to(membrane.dtype) * inverse
        z = membrane - threshold
        if self.kind == "atan":
            return (p / 2) / (1 + (math.pi * p / 2 * z).square())
        if self.kind == "rect":
            return (z.abs() < p / 2).to(z.dtype) / p
        if self.kind == "sigmoid":
            sig = torch.sigmoid(p * z)
            return p * sig * (1 - sig)
        return torch.clamp(1 - z.abs() / p, min=0.0) / p


def atan(alpha: float = 2.0) -> Surrogate:
    """The default. Its heavy tail trains neurons that start almost silent; compact surrogates stall there."""
    return Surrogate("atan", float(alpha))


def rect(width: float = 1.0) -> Surrogate:
    return Surrogate("rect", float(width))


def sigmoid(alpha: float = 4.0) -> Surrogate:
    return Surrogate("sigmoid", float(alpha))


def triangle(width: float = 1.0) -> Surrogate:
    return Surrogate("triangle", float(width))


def integer(levels: int = 4) -> Surrogate:
    """Integer spikes 0..levels, which run as up to `levels` unary spikes at inference."""
    return Surrogate("integer", float(levels))


class _Spike(torch.autograd.Function):
    """Built from torch operations in both directions, so it can be differentiated twice."""

    @staticmethod
    def forward(ctx, membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
        ctx.save_for_backward(membrane, threshold)
        ctx.surrogate = surrogate
        return surrogate.fire(membrane, threshold, strict)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        membrane, threshold = ctx.saved_tensors
        h = grads[0] * ctx.surrogate.derivative(membrane, threshold)
        slope = membrane / threshold if ctx.surrogate.kind == "integer" else 1.0
        grad_threshold = -(h * slope).sum_to_size(threshold.shape) if ctx.needs_input_grad[1] else None
        return h, grad_threshold, None, None


def fire(membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> Tensor:
    """Spikes with the surrogate's gradient for `membrane` and `threshold` (which broadcasts against it)."""
    spikes: Tensor = _Spike.apply(membrane, threshold, surrogate, strict)  # pyright: ignore[reportAssignmentType]
    return spikes
