"""Reciprocal and exponential for a known range: Triton's own spend half a dozen instructions on the ends of float32.

What one rounds to zero, or to infinity, lies there anyway. In the interpreter they are Triton's own.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl
from triton import knobs

_INTERPRETED = tl.constexpr(knobs.runtime.interpret)
_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def reciprocal(x):
    """1 / x for x >= 1, to one unit in the last place; 0 beyond 2^126."""
    if _INTERPRETED:
        result = 1.0 / x
    else:
        result = tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)
    return result


@triton.jit
def exponential(x):
    """exp(x) for x <= 0, as exact as Triton's; 0 where it is below 2^-126."""
    if _INTERPRETED:
        result = tl.exp(x)
    else:
        result = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x * _LOG2_E], tl.float32, True, 1)
    return result
