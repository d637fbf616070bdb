"""Complex numbers inside a kernel: a pair of float32 is read as one 64-bit integer, and planar in registers."""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def real_of(pair):
    return pair.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def imag_of(pair):
    return (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def pair_of(re, im):
    low = re.to(tl.int32, bitcast=True).to(tl.int64) & 0xFFFFFFFF
    return (im.to(tl.int32, bitcast=True).to(tl.int64) << 32) | low


@triton.jit
def parts(value, PAIRS: tl.constexpr):
    """Real and imaginary part of a loaded value, in float32; a real value's imaginary part is zero."""
    if PAIRS:
        re, im = real_of(value), imag_of(value)
    else:
        re = value.to(tl.float32)
        im = tl.zeros_like(re)
    return re, im
