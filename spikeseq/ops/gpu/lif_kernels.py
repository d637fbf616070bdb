"""LIF with a soft, hard or no reset; with no reset and membrane output it is the real linear scan.

    u = decay * v + x;  s = fire(u);  v = u - rho * s | u * (1 - s) | u

The state stays in registers from the first step to the last. The rows of a tile are loaded at once and one tile ahead
of the arithmetic, so that a program keeps many loads in flight.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl

from .fire import adjoint_of, fire
from .rows import always, checkpoint_of, in_step, keep, load_rows, place


@triton.jit
def reset(u, s, rho, RESET: tl.constexpr):
    if RESET == "soft":
        u = u - rho * s
    elif RESET == "hard":
        u = u * (1.0 - s)
    return u


@triton.jit(do_not_specialize=["time"])
def lif_forward(
    x, decay, threshold, rho, state, starts, out, end, checkpoints, parameter, time, width: tl.constexpr,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, MEMBRANE: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """One program: BLOCK channels of one row of the batch. `state` (zero), `starts`, `out` and `checkpoints` may be
    None."""
    row, n, inside = place(width, BLOCK)
    stride = tl.cast(width, tl.int64)
    x += row * time * stride + n
    if out is not None:
        out += row * time * stride + n
    if starts is not None:
        starts += row * tl.cdiv(time, TILE)
    if checkpoints is not None:
        checkpoints += row * (time // TILE + time % TILE) * stride + n
    a = tl.load(decay + n, mask=inside, other=0.0)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    amount = tl.load(rho + n, mask=inside, other=0.0)
    v = tl.zeros_like(level)
    if state is not None:
        v = tl.load(state + row * stride + n, mask=inside, other=0.0)
    blocks = time // ROWS
    rows = load_rows(x, stride, inside & (blocks > 0), ROWS)
    for block in range(blocks):
        if starts is not None:
            words = load_rows(starts + block * (ROWS // TILE), 1, block < blocks, ROWS // TILE)
        x += ROWS * stride
        ahead = load_rows(x, stride, inside & (block + 1 < blocks), ROWS)
        in_step(BLOCK)
        if always(parameter):
            for u in tl.static_range(ROWS):
                tile = block * (ROWS // TILE) + u // TILE
                if u % TILE == 0 and checkpoints is not None:
                    tl.store(checkpoints + tile * stride, v, mask=inside)
                if starts is not None:
                    v = v * keep(words[u // TILE], u % TILE)
                membrane = a * v + rows[u].to(tl.float32)
                spikes = fire(membrane, level, inverse, parameter, KIND, STRICT)
                if out is not None:
                    tl.store(out, (membrane if MEMBRANE else spikes).to(out.dtype.element_ty), mask=inside)
                    out += stride
                v = reset(membrane, spikes, amount, RESET)
        rows = ahead
    for t in range(blocks * ROWS, time):
        if checkpoints is not None:
            slot, kept = checkpoint_of(t, time, TILE)
            tl.store(checkpoints + slot * stride, v, mask=inside & kept)
        if starts is not None:
            v = v * keep(tl.load(starts + t // TILE), t % TILE)
        membrane = a * v + tl.load(x, mask=inside, other=0.0).to(tl.float32)
        spikes = fire(membrane, level, inverse, parameter, KIND, STRICT)
        if out is not None:
            tl.store(out, (membrane if MEMBRANE else spikes).to(out.dtype.element_ty), mask=inside)
            out += stride
        x += stride
        v = reset(membrane, spikes, amount, RESET)
    tl.store(end + row * stride + n, v, mask=inside)


@triton.jit
def lif_tile_back(
    rows, heard, point, word, shift, back, a, level, inverse, amount, parameter, grad_x, stride, inside,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, MEMBRANE: tl.constexpr, STARTS: tl.constexpr,
    ROWS: tl.constexpr,
):  # fmt: skip
    """The states of one tile again, from the state `point` that enters it, then back through its steps.

    Returns the gradient of `point` and this tile's sums for decay and threshold.
    """
    membranes = ()
    v = point
    for u in tl.static_range(ROWS):
        if STARTS:
            v = v * keep(word, shift + u)
        membrane = a * v + rows[u].to(tl.float32)
        membranes = membranes + (membrane,)
        v = reset(membrane, fire(membrane, level, inverse, parameter, KIND, STRICT), amount, RESET)
    to_decay = tl.zeros_like(point)
    to_threshold = tl.zeros_like(point)
    for u in tl.static_range(ROWS - 1, -1, -1):
        membrane = membranes[u]
        if RESET == "hard":
            back = back * (1.0 - fire(membrane, level, inverse, parameter, KIND, STRICT))
        adjoint, to_threshold = adjoint_of(
            back, heard[u].to(tl.float32), membrane, to_threshold, level, inverse, parameter, KIND, MEMBRANE
        )
        if grad_x is not None:
            tl.store(grad_x + u * stride, adjoint.to(grad_x.dtype.element_ty), mask=inside)
        entering = point
        if u > 0:
            before = membranes[u - 1]
            entering = reset(before, fire(before, level, inverse, parameter, KIND, STRICT), amount, RESET)
        back = a * adjoint
        if STARTS:
            entering = entering * keep(word, shift + u)
            back = back * keep(word, shift + u)
        to_decay = tl.fma(adjoint, entering, to_decay)
    return back, to_decay, to_threshold


@triton.jit(do_not_specialize=["time"])
def lif_backward(
    x, decay, threshold, rho, starts, checkpoints, grad_out, grad_end, grad_x, grad_state, grad_decay, grad_threshold,
    parameter, time, width: tl.constexpr,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, MEMBRANE: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The steps left over, then tiles from last to first. `grad_end` (zero) and `grad_x` may be None.

    `grad_decay` and `grad_threshold` take one row of double sums for each row of the batch, or are None.
    """
    row, n, inside = place(width, BLOCK)
    stride, tiles = tl.cast(width, tl.int64), time // TILE
    checkpoints += row * (tiles + time % TILE) * stride + n
    last = (row * time + time) * stride + n
    x += last
    grad_out += last
    if grad_x is not None:
        grad_x += last
    a = tl.load(decay + n, mask=inside, other=0.0)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    amount = tl.load(rho + n, mask=inside, other=0.0)
    back = tl.zeros_like(level)
    if grad_end is not None:
        back = tl.load(grad_end + row * stride + n, mask=inside, other=0.0)
    decay_total = tl.zeros([BLOCK], tl.float64)
    threshold_total = tl.zeros([BLOCK], tl.float64)
    STARTS: tl.constexpr = starts is not None
    word = 0
    if STARTS:
        starts += row * tl.cdiv(time, TILE)
        word = tl.load(starts + tiles, mask=time % TILE > 0, other=0)
    for i in range(time % TILE):
        left = time % TILE - 1 - i
        x -= stride
        grad_out -= stride
        if grad_x is not None:
            grad_x -= stride
        back, to_decay, to_threshold = lif_tile_back(
            load_rows(x, stride, inside, 1), load_rows(grad_out, stride, inside, 1),
            tl.load(checkpoints + (tiles + left) * stride, mask=inside, other=0.0), word, left, back, a, level, inverse,
            amount, parameter, grad_x, stride, inside, KIND, STRICT, RESET, MEMBRANE, STARTS, 1,
        )  # fmt: skip
        decay_total += to_decay.to(tl.float64)
        threshold_total += to_threshold.to(tl.float64)
    some = inside & (tiles > 0)
    x -= TILE * stride
    grad_out -= TILE * stride
    rows = load_rows(x, stride, some, TILE)
    heard = load_rows(grad_out, stride, some, TILE)
    point = tl.load(checkpoints + (tiles - 1) * stride, mask=some, other=0.0)
    for i in range(tiles):
        tile = tiles - 1 - i
        more = inside & (tile > 0)
        x -= TILE * stride
        grad_out -= TILE * stride
        if grad_x is not None:
            grad_x -= TILE * stride
        rows_ahead = load_rows(x, stride, more, TILE)
        heard_ahead = load_rows(grad_out, stride, more, TILE)
        point_ahead = tl.load(checkpoints + (tile - 1) * stride, mask=more, other=0.0)
        if STARTS:
            word = tl.load(starts + tile)
        in_step(BLOCK)
        if always(parameter):
            back, to_decay, to_threshold = lif_tile_back(
                rows, heard, point, word, 0, back, a, level, inverse, amount, parameter, grad_x, stride, inside,
                KIND, STRICT, RESET, MEMBRANE, STARTS, TILE,
            )  # fmt: skip
            decay_total += to_decay.to(tl.float64)
            threshold_total += to_threshold.to(tl.float64)
        rows, heard, point = rows_ahead, heard_ahead, point_ahead
    tl.store(grad_state + row * stride + n, back, mask=inside)
    if grad_decay is not None:
        tl.store(grad_decay + row * stride + n, decay_total, mask=inside)
    if grad_threshold is not None:
        tl.store(grad_threshold + row * stride + n, threshold_total, mask=inside)
