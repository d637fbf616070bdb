"""Starts of episodes as one integer a tile, so that a kernel reads the mask of a tile at once."""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .launch import OPTIONS, Form

BLOCK = 32  # tiles a program


@triton.jit(do_not_specialize=["steps", "tiles"])
def pack(starts, words, steps, tiles, BEFORE: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr):
    """starts: uint8 [batch, steps]; words: int32 [batch, tiles]."""
    blocks = tl.cdiv(tiles, BLOCK)
    row = (tl.program_id(0) // blocks).to(tl.int64)
    tile = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    word = tl.zeros([BLOCK], tl.int32)
    for u in tl.static_range(BEFORE + TILE):
        t = tile * TILE + (u - BEFORE)
        start = tl.load(starts + row * steps + t, mask=(t >= 0) & (t < steps), other=0)
        word = word | (start.to(tl.int32) << u)
    tl.store(words + row * tiles + tile, word, mask=tile < tiles)


def words_of(starts: Tensor | None, form: Form) -> Tensor | None:
    """Starts [batch, time] as one int32 a tile, bit `form.before` + u for its step u; none lie past the end."""
    if starts is None:
        return None
    if form.before + form.tile > 32:
        raise ValueError(f"a word of starts has 32 bits, expected before + tile of at most as many, got {form}")
    batch, steps = starts.shape
    tiles = -(-steps // form.tile)
    words = torch.empty(batch, tiles, dtype=torch.int32, device=starts.device)
    with torch.cuda.device_of(starts):
        pack[(batch * -(-tiles // BLOCK),)](
            starts=starts.contiguous().view(torch.uint8), words=words, steps=steps, tiles=tiles,
            BEFORE=form.before, TILE=form.tile, BLOCK=BLOCK, **OPTIONS,
        )  # fmt: skip
    return words
