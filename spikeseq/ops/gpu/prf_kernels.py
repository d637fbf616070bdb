"""PRF: complex state in planar registers, real input, fires on the real part; soft reset or none.

    z = decay * v + gain * x;  s = fire(Re z);  v = z - rho * s | z

With no reset and OUTPUT "states" it is the linear scan with a constant complex decay, whose input and output may be
complex (PAIRS: x is complex, and the gain a constant 1). The form is that of lif_kernels.py.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl

from .fire import adjoint_of, fire
from .lif_kernels import reset
from .pairs import imag_of, pair_of, parts, real_of
from .rows import always, checkpoint_of, in_step, keep, load_rows, place


@triton.jit
def prf_step(
    value, re, im, a, b, gain, level, inverse, amount, parameter, out, inside,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, OUTPUT: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """One step forward: writes the output, returns the state."""
    x_re, x_im = parts(value, PAIRS)
    u = (a * re - b * im) + gain * x_re
    im = b * re + a * im
    if PAIRS:
        im += gain * x_im
    spikes = fire(u, level, inverse, parameter, KIND, STRICT)
    if out is None:
        pass
    elif OUTPUT == "states":
        tl.store(out, pair_of(u, im), mask=inside)
    else:
        tl.store(out, (u if OUTPUT == "membrane" else spikes).to(out.dtype.element_ty), mask=inside)
    return reset(u, spikes, amount, RESET), im


@triton.jit(do_not_specialize=["time"])
def prf_forward(
    x, decay, gain, threshold, rho, state, starts, out, end, checkpoints, parameter, time, width: tl.constexpr,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, OUTPUT: tl.constexpr, PAIRS: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """`decay`, `state` and `end` are complex; `checkpoints` [batch, kept, 2, width] are planar. `state` (zero) and
    `out` may be None."""
    row, n, inside = place(width, BLOCK)
    stride = tl.cast(width, tl.int64)
    x += row * time * stride + n
    if out is not None:
        out += row * time * stride + n
    if starts is not None:
        starts += row * tl.cdiv(time, TILE)
    if checkpoints is not None:
        checkpoints += row * (time // TILE + time % TILE) * 2 * stride + n
    turn = tl.load(decay + n, mask=inside, other=0)
    a, b = real_of(turn), imag_of(turn)
    g = tl.load(gain + n, mask=inside, other=0.0)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    amount = tl.load(rho + n, mask=inside, other=0.0)
    re, im = tl.zeros_like(level), tl.zeros_like(level)
    if state is not None:
        z = tl.load(state + row * stride + n, mask=inside, other=0)
        re, im = real_of(z), imag_of(z)
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
                    tl.store(checkpoints + tile * 2 * stride, re, mask=inside)
                    tl.store(checkpoints + (tile * 2 + 1) * stride, im, mask=inside)
                if starts is not None:
                    re = re * keep(words[u // TILE], u % TILE)
                    im = im * keep(words[u // TILE], u % TILE)
                re, im = prf_step(rows[u], re, im, a, b, g, level, inverse, amount, parameter, out, inside,
                                  KIND, STRICT, RESET, OUTPUT, PAIRS)  # fmt: skip
                if out is not None:
                    out += stride
        rows = ahead
    for t in range(blocks * ROWS, time):
        if checkpoints is not None:
            slot, kept = checkpoint_of(t, time, TILE)
            tl.store(checkpoints + slot * 2 * stride, re, mask=inside & kept)
            tl.store(checkpoints + (slot * 2 + 1) * stride, im, mask=inside & kept)
        if starts is not None:
            held = keep(tl.load(starts + t // TILE), t % TILE)
            re = re * held
            im = im * held
        re, im = prf_step(tl.load(x, mask=inside, other=0), re, im, a, b, g, level, inverse, amount, parameter, out,
                          inside, KIND, STRICT, RESET, OUTPUT, PAIRS)  # fmt: skip
        x += stride
        if out is not None:
            out += stride
    tl.store(end + row * stride + n, pair_of(re, im), mask=inside)


@triton.jit
def prf_tile_back(
    rows, heard, point_re, point_im, word, shift, back_re, back_im, a, b, gain, level, inverse, amount, parameter,
    grad_x, stride, inside,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, OUTPUT: tl.constexpr, PAIRS: tl.constexpr,
    STARTS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The states of one tile again, then back through its steps; gradients of z are (d/dRe, d/dIm).

    Returns the gradient of the state that enters and this tile's sums for decay (2), gain and threshold.
    """
    membranes, imags = (), ()
    re, im = point_re, point_im
    for u in tl.static_range(ROWS):
        if STARTS:
            re = re * keep(word, shift + u)
            im = im * keep(word, shift + u)
        x_re, x_im = parts(rows[u], PAIRS)
        membrane = (a * re - b * im) + gain * x_re
        im = b * re + a * im
        if PAIRS:
            im += gain * x_im
        membranes = membranes + (membrane,)
        imags = imags + (im,)
        re = reset(membrane, fire(membrane, level, inverse, parameter, KIND, STRICT), amount, RESET)
    to_a = tl.zeros_like(back_re)
    to_b = tl.zeros_like(back_re)
    to_gain = tl.zeros_like(back_re)
    to_threshold = tl.zeros_like(back_re)
    for u in tl.static_range(ROWS - 1, -1, -1):
        membrane = membranes[u]
        h, h_im = parts(heard[u], OUTPUT == "states")
        adjoint_re, to_threshold = adjoint_of(
            back_re, h, membrane, to_threshold, level, inverse, parameter, KIND, OUTPUT != "spikes"
        )
        adjoint_im = back_im
        if OUTPUT == "states":
            adjoint_im += h_im
        x_re, _ = parts(rows[u], PAIRS)
        to_gain = tl.fma(adjoint_re, x_re, to_gain)
        if grad_x is None:
            pass
        elif PAIRS:
            tl.store(grad_x + u * stride, pair_of(gain * adjoint_re, gain * adjoint_im), mask=inside)
        else:
            tl.store(grad_x + u * stride, (gain * adjoint_re).to(grad_x.dtype.element_ty), mask=inside)
        re, im = point_re, point_im
        if u > 0:
            before = membranes[u - 1]
            re = reset(before, fire(before, level, inverse, parameter, KIND, STRICT), amount, RESET)
            im = imags[u - 1]
        back_re = tl.fma(a, adjoint_re, b * adjoint_im)
        back_im = tl.fma(a, adjoint_im, -(b * adjoint_re))
        if STARTS:
            held = keep(word, shift + u)
            re = re * held
            im = im * held
            back_re = back_re * held
            back_im = back_im * held
        to_a = tl.fma(adjoint_re, re, tl.fma(adjoint_im, im, to_a))
        to_b = tl.fma(adjoint_im, re, tl.fma(-adjoint_re, im, to_b))
    return back_re, back_im, to_a, to_b, to_gain, to_threshold


@triton.jit(do_not_specialize=["time"])
def prf_backward(
    x, decay, gain, threshold, rho, starts, checkpoints, grad_out, grad_end, grad_x, grad_state, grad_decay, grad_gain,
    grad_threshold, parameter, time, width: tl.constexpr,
    KIND: tl.constexpr, STRICT: tl.constexpr, RESET: tl.constexpr, OUTPUT: tl.constexpr, PAIRS: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The steps left over, then tiles from last to first. `grad_x` may be None.

    `grad_decay` [batch, 2, width] (planar), `grad_gain` and `grad_threshold` [batch, width] take double sums, or are
    None.
    """
    row, n, inside = place(width, BLOCK)
    stride, tiles = tl.cast(width, tl.int64), time // TILE
    checkpoints += row * (tiles + time % TILE) * 2 * stride + n
    last = (row * time + time) * stride + n
    x += last
    grad_out += last
    if grad_x is not None:
        grad_x += last
    turn = tl.load(decay + n, mask=inside, other=0)
    a, b = real_of(turn), imag_of(turn)
    g = tl.load(gain + n, mask=inside, other=0.0)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    amount = tl.load(rho + n, mask=inside, other=0.0)
    back_re, back_im = tl.zeros_like(level), tl.zeros_like(level)
    if grad_end is not None:
        z = tl.load(grad_end + row * stride + n, mask=inside, other=0)
        back_re, back_im = real_of(z), imag_of(z)
    a_total = tl.zeros([BLOCK], tl.float64)
    b_total = tl.zeros([BLOCK], tl.float64)
    gain_total = tl.zeros([BLOCK], tl.float64)
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
        back_re, back_im, to_a, to_b, to_gain, to_threshold = prf_tile_back(
            load_rows(x, stride, inside, 1), load_rows(grad_out, stride, inside, 1),
            tl.load(checkpoints + (tiles + left) * 2 * stride, mask=inside, other=0.0),
            tl.load(checkpoints + ((tiles + left) * 2 + 1) * stride, mask=inside, other=0.0), word, left, back_re,
            back_im, a, b, g, level, inverse, amount, parameter, grad_x, stride, inside,
            KIND, STRICT, RESET, OUTPUT, PAIRS, STARTS, 1,
        )  # fmt: skip
        a_total += to_a.to(tl.float64)
        b_total += to_b.to(tl.float64)
        gain_total += to_gain.to(tl.float64)
        threshold_total += to_threshold.to(tl.float64)
    some = inside & (tiles > 0)
    x -= TILE * stride
    grad_out -= TILE * stride
    rows = load_rows(x, stride, some, TILE)
    heard = load_rows(grad_out, stride, some, TILE)
    point_re = tl.load(checkpoints + (tiles - 1) * 2 * stride, mask=some, other=0.0)
    point_im = tl.load(checkpoints + (tiles * 2 - 1) * stride, mask=some, other=0.0)
    for i in range(tiles):
        tile = tiles - 1 - i
        more = inside & (tile > 0)
        x -= TILE * stride
        grad_out -= TILE * stride
        if grad_x is not None:
            grad_x -= TILE * stride
        rows_ahead = load_rows(x, stride, more, TILE)
        heard_ahead = load_rows(grad_out, stride, more, TILE)
        re_ahead = tl.load(checkpoints + (tile - 1) * 2 * stride, mask=more, other=0.0)
        im_ahead = tl.load(checkpoints + (tile * 2 - 1) * stride, mask=more, other=0.0)
        if STARTS:
            word = tl.load(starts + tile)
        in_step(BLOCK)
        if always(parameter):
            back_re, back_im, to_a, to_b, to_gain, to_threshold = prf_tile_back(
                rows, heard, point_re, point_im, word, 0, back_re, back_im, a, b, g, level, inverse, amount, parameter,
                grad_x, stride, inside, KIND, STRICT, RESET, OUTPUT, PAIRS, STARTS, TILE,
            )  # fmt: skip
            a_total += to_a.to(tl.float64)
            b_total += to_b.to(tl.float64)
            gain_total += to_gain.to(tl.float64)
            threshold_total += to_threshold.to(tl.float64)
        rows, heard, point_re, point_im = rows_ahead, heard_ahead, re_ahead, im_ahead
    tl.store(grad_state + row * stride + n, pair_of(back_re, back_im), mask=inside)
    if grad_decay is not None:
        tl.store(grad_decay + row * 2 * stride + n, a_total, mask=inside)
        tl.store(grad_decay + (row * 2 + 1) * stride + n, b_total, mask=inside)
    if grad_gain is not None:
        tl.store(grad_gain + row * stride + n, gain_total, mask=inside)
    if grad_threshold is not None:
        tl.store(grad_threshold + row * stride + n, threshold_total, mask=inside)
