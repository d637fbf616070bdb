"""What truly enters each chunk of a sequence that was cut along time, from where the chunks end if they begin at zero.

    E_0 = first;   E_{c+1} = ends_c + factor_c * E_c

`factor_c` is what a whole chunk multiplies its state with. The way back is the same from the last chunk, with the
conjugate factor of the chunk that is passed.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import pairs, run
from .pairs import pair_of, parts
from .rows import place


@triton.jit
def power_of(re, im, steps):
    """(re + i im)^steps by squaring, in double: in float32 a long rotation would be off by its whole rounding error
    times its length."""
    base_re, base_im = re.to(tl.float64), im.to(tl.float64)
    power_re, power_im = tl.zeros_like(base_re) + 1.0, tl.zeros_like(base_im)
    while steps > 0:
        odd = steps % 2 == 1
        grown = power_re * base_re - power_im * base_im
        power_im = tl.where(odd, power_re * base_im + power_im * base_re, power_im)
        power_re = tl.where(odd, grown, power_re)
        squared = base_re * base_re - base_im * base_im
        base_im = 2.0 * base_re * base_im
        base_re = squared
        steps = steps // 2
    return power_re.to(tl.float32), power_im.to(tl.float32)


@triton.jit(do_not_specialize=["time", "steps"])
def carry(
    first, ends, factor, fresh, out, steps, time, width: tl.constexpr,
    PAIRS: tl.constexpr, BACK: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """`time` counts chunks. first: [batch, width], or None for zero; ends, out: [batch, time, width]. With `steps`
    None `factor` is like `ends`, else it is the decay of one step, [width]. fresh: [batch, time], whether an episode
    starts in the chunk, or None."""
    row, n, inside = place(width, BLOCK)
    stride = tl.cast(width, tl.int64)
    re = tl.zeros([BLOCK], tl.float32)
    im = re
    if first is not None:
        re, im = parts(tl.load(first + row * stride + n, mask=inside, other=0), PAIRS)
    if steps is not None:
        power_re, power_im = parts(tl.load(factor + n, mask=inside, other=0), PAIRS)
        power_re, power_im = power_of(power_re, power_im, steps)
    for block in range(tl.cdiv(time, ROWS)):
        came = ()
        grown = ()
        for u in tl.static_range(ROWS):
            i = block * ROWS + u
            there = inside & (i < time)
            at = (row * time + (time - 1 - i if BACK else i)) * stride + n
            came = came + (tl.load(ends + at, mask=there, other=0),)
            if steps is None:
                grown = grown + (tl.load(factor + at, mask=there, other=0),)
        for u in tl.static_range(ROWS):
            i = block * ROWS + u
            there = inside & (i < time)
            chunk = row * time + (time - 1 - i if BACK else i)
            if PAIRS:
                tl.store(out + chunk * stride + n, pair_of(re, im), mask=there)
            else:
                tl.store(out + chunk * stride + n, re, mask=there)
            if steps is None:
                f_re, f_im = parts(grown[u], PAIRS)
            else:
                f_re, f_im = power_re, power_im
            if fresh is not None:
                new = tl.load(fresh + chunk, mask=i < time, other=0) != 0
                f_re, f_im = tl.where(new, 0.0, f_re), tl.where(new, 0.0, f_im)
            if BACK:
                f_im = -f_im
            end_re, end_im = parts(came[u], PAIRS)
            moved = (f_re * re - f_im * im) + end_re
            im = (f_im * re + f_re * im) + end_im
            re = moved


ROWS, BLOCK = 8, 32  # chunks read at once, channels a program


def carried(
    first: Tensor | None, ends: Tensor, chunks: int, factor: Tensor, starts: Tensor | None, steps: int | None,
    back: bool = False,
) -> Tensor:  # fmt: skip
    """What enters each chunk, like `ends` [batch * chunks, width]; from behind if `back`.

    first: what enters the first, [batch, width], None for zero. factor: what each chunk multiplies with, like `ends`,
    or with `steps` the decay of one step, [width]. starts: of the chunks' steps, [batch * chunks, steps], or None.
    """
    rows = ends.unflatten(0, (-1, chunks))
    out = torch.empty_like(rows)
    fresh = None if starts is None else starts.any(1).view(torch.uint8)
    given: dict[str, Any] = {"first": pairs(first), "ends": pairs(rows), "factor": pairs(factor), "fresh": fresh}
    run(carry, rows, BLOCK, out=pairs(out), steps=steps, PAIRS=rows.is_complex(), BACK=back, ROWS=ROWS, **given)
    return out.flatten(0, 1)
