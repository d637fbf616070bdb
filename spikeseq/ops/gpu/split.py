"""Long, narrow inputs: time in chunks that run side by side, for recurrences without a reset.

A batch of few rows and channels leaves most of the device idle, since a program walks along the whole of time. There
the chunks of a sequence are rows of a larger batch. A first pass finds where each chunk would end if it began at zero,
a short scan over the chunks what truly enters each (carry.py), and the second pass is the usual one. The backward pass
does the same from the end. A neuron that resets cannot be cut so: its state depends on every spike before. What a whole
chunk multiplies its state with is a power of a constant decay; decays that vary in time are multiplied up in the first
pass. Chunks are equal; a length that gives none goes in two parts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

FILL = 65536  # batch * width that keeps enough loads in flight
LEAST = 256  # steps of a chunk
GAIN = 8  # chunks from which the first pass, half as costly as the second, pays


def _most(x: Tensor) -> int:
    batch, time, width = x.shape
    return min(FILL // (batch * width), time // LEAST)


def chunks_for(x: Tensor, reset: str, rows: int) -> int:
    """Into how many chunks to cut `x` [batch, time, width]: equal ones of whole blocks of `rows`, so none is copied."""
    if reset != "none":
        return 1
    fitting = [chunks for chunks in range(GAIN, _most(x) + 1) if x.shape[1] % (chunks * rows) == 0]
    return max(fitting, default=1)


def first_part(x: Tensor, reset: str, rows: int) -> int:
    """How many steps to take first, so that they cut well: all where they do, or where no cut would pay."""
    most, time = _most(x), x.shape[1]
    if reset != "none" or most < GAIN or 2 * chunks_for(x, reset, rows) >= most:
        return time
    return time - time % (most * rows)


def in_parts(
    walk: Callable[..., tuple[Tensor, ...]], reset: str, rows: int, x: Tensor, gate: Tensor | None,
    starts: Tensor | None, *states: Tensor,
) -> tuple[Tensor, ...]:  # fmt: skip
    """`walk(x, gate, starts, *states)`, which gives the output and the states, over parts that cut well."""
    first = first_part(x, reset, rows)
    if first == x.shape[1]:
        return walk(x, gate, starts, *states)
    outs, ends = [], states
    for part in (slice(first), slice(first, None)):
        gates, masks = (None if along is None else along[:, part] for along in (gate, starts))
        out, *ends = in_parts(walk, reset, rows, x[:, part], gates, masks, *ends)
        outs.append(out)
    return torch.cat(outs, 1), *ends


def cut(x: Tensor, chunks: int) -> Tensor:
    """[batch, time, ...] -> [batch * chunks, time / chunks, ...], the same memory."""
    return x.reshape(x.shape[0] * chunks, x.shape[1] // chunks, *x.shape[2:])


def last_of(ends: Tensor, chunks: int) -> Tensor:
    """The ends of the sequences, [batch, width], of those of their chunks; no view, so that it may be changed."""
    return ends if chunks == 1 else ends[chunks - 1 :: chunks].clone()


def inputs_before(x: Tensor, history: Tensor, starts: Tensor | None, chunks: int) -> tuple[Tensor, Tensor | None]:
    """The last inputs before each chunk, [batch * chunks, past, width], and which of them count, None for all.

    Nothing counts from before an episode's start. history: those before the first chunk, [batch, past, width].
    """
    batch, past = history.shape[:2]
    steps = x.shape[1] // chunks
    ends = cut(x, chunks)[:, steps - past :].to(history.dtype).unflatten(0, (batch, chunks))
    counts = None
    if starts is not None:
        later = cut(starts, chunks)[:, steps - past :].flip(1).cumsum(1).flip(1)
        later[:, :-1], later[:, -1:] = later[:, 1:].clone(), 0
        counts = (later == 0).unsqueeze(-1).unflatten(0, (batch, chunks))
        ends = ends * counts
    return torch.cat((history.unsqueeze(1), ends[:, :-1]), 1).flatten(0, 1), counts
