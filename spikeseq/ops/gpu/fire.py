"""Spike functions and their surrogate derivatives inside a kernel; kinds and formulas are those of surrogate.py."""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

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
        slope = (parameter * 0.5) / (1.0 + y * y)
    elif KIND == "rect":
        slope = tl.where(tl.abs(z) < parameter * 0.5, 1.0 / parameter, 0.0)
    elif KIND == "sigmoid":
        e = tl.exp(-parameter * tl.abs(z))  # sig * (1 - sig) = e / (1 + e)^2, even in z
        slope = parameter * e / ((1.0 + e) * (1.0 + e))
    else:
        tl.static_assert(KIND == "triangle")
        slope = tl.maximum(1.0 - tl.abs(z) / parameter, 0.0) / parameter
    return slope


@triton.jit
def to_threshold_of(h, u, inverse, KIND: tl.constexpr):
    """What `h`, the gradient of the spike times the derivative at `u`, hands on to the threshold."""
    if KIND == "integer":
        h = h * (u * inverse)
    return -h
