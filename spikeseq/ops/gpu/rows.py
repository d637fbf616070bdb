"""Rows of a sequence in registers: where a program works, loads of several steps at once, masks of episode starts.

A sequence is cut into tiles of TILE steps; what is left over at its end is walked step by step. The state that enters
each tile, and each step left over, is kept as a checkpoint for the backward pass.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place(width: tl.constexpr, BLOCK: tl.constexpr):
    """This program's row of the batch, its channels, and which of them exist. The row is 64-bit: offsets pass 2^31.

    Each width is compiled for itself: with a known stride the address of a row costs no instruction, so that the rows
    of the next tile are asked for at once and not after the arithmetic of this one.
    """
    blocks = tl.cdiv(width, BLOCK)
    program = tl.program_id(0)
    n = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = n < width
    if width % BLOCK == 0:
        inside = tl.full([BLOCK], True, tl.int1)
    return (program // blocks).to(tl.int64), n, inside


@triton.jit
def load_rows(pointers, stride, mask, ROWS: tl.constexpr):
    """ROWS steps from `pointers` on as a tuple, in their own dtype."""
    rows = ()
    for _ in tl.static_range(ROWS):
        rows = rows + (tl.load(pointers, mask=mask, other=0),)
        pointers += stride
    return rows


@triton.jit
def always(number):
    """True, which the compiler cannot know: NaN is not equal to itself. A branch on it keeps in their place the loads
    that were asked for before it. Without one the assembler moves them behind the arithmetic, to spare registers, and
    the next tile waits for them.
    """
    return number == number


@triton.jit
def in_step(BLOCK: tl.constexpr):
    """Where a program has several warps, of 32 channels each: they wait for each other."""
    if BLOCK > 32:
        tl.debug_barrier()


@triton.jit
def keep(word, u):
    """The factor that clears the state where bit `u` of a tile's start mask is set."""
    return 1.0 - ((word >> u) & 1).to(tl.float32)


@triton.jit
def checkpoint_of(t, time, TILE: tl.constexpr):
    """Where the state that enters step t is kept, and whether it is."""
    tiles = time // TILE
    left = t - tiles * TILE
    return tl.where(left < 0, t // TILE, tiles + left), (t % TILE == 0) | (left >= 0)
