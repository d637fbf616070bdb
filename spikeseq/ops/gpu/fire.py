"""Spike functions and their surrogate derivatives inside a kernel; kinds and formulas are those of surrogate.py."""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

from .arithmetic import exponential, reciprocal

_NEAREST = tl.constexpr(12582912.0)  # 1.5 * 2^23: adding it rounds a float32 below 2^22 to the nearest even integer
_HALF_PI = tl.constexpr(1.5707963267948966)


@triton.jit
def fire(u, threshold, inverse, parameter, KIND: tl.constexpr, STRICT: tl.constexpr):
    """Spikes of the membrane `u`; `inverse` is 1 / threshold."""
    if KIND == "integer":
        ratio = u * inverse
        ratio = tl.where(ratio < 0.0, 0.0, ratio)
        ratio = tl.where(ratio > parameter, parameter, ratio)
        spikes = (ratio + _NEAREST) - _NEAREST
    elif STRICT:
        spikes = tl.where(u > threshold, 1.0, 0.0)
    else:
        spikes = tl.where(u >= threshold, 1.0, 0.0)
    return spikes


@triton.jit
def derivative(u, threshold, inverse, parameter, KIND: tl.constexpr):
    """The stated stand-in for ds/du."""
    z = u - threshold
    if KIND == "integer":
        ratio = u * inverse
        slope = tl.where((ratio >= 0.0) & (ratio <= parameter), inverse, 0.0)
    elif KIND == "atan":
        y = z * (parameter * _HALF_PI)
        slope = (parameter * 0.5) * reciprocal(tl.fma(y, y, 1.0))
    elif KIND == "rect":
        slope = tl.where(tl.abs(z) < parameter * 0.5, 1.0 / parameter, 0.0)
    elif KIND == "sigmoid":
        e = exponential(-parameter * tl.abs(z))  # sig * (1 - sig) = e / (1 + e)^2, even in z
        slope = parameter * e * reciprocal((1.0 + e) * (1.0 + e))
    else:
        tl.static_assert(KIND == "triangle")
        slope = tl.maximum(1.0 - tl.abs(z) / parameter, 0.0) / parameter
    return slope


@triton.jit
def adjoint_of(back, heard, u, to_threshold, threshold, inverse, parameter, KIND: tl.constexpr, MEMBRANE: tl.constexpr):
    """The gradient of the membrane `u`: `back` from later steps and `heard` of its output; and the threshold's sum."""
    if MEMBRANE:
        adjoint = back + heard
    else:
        slope = derivative(u, threshold, inverse, parameter, KIND)
        adjoint = tl.fma(heard, slope, back)
        if KIND == "integer":
            slope = slope * (u * inverse)
        to_threshold = tl.fma(-heard, slope, to_threshold)
    return adjoint, to_threshold
