"""The way back through gated_kernels.py, in the form of lif_kernels.py.

With the gradient of u at hand, that of log alpha is it times alpha * (u_before - x), and that of the gate again times
sigmoid(-gate) / tau; where the gate was made from x, the convolution hands it on to x, the weights and the bias.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl

from .fire import adjoint_of
from .gated_kernels import gated_step, load_gates
from .rows import always, in_step, keep, load_rows, place
from .window import added_to_taps, heard_later, load_taps, load_window, of_the_episode, pushed, times


@triton.jit
def gated_tile_back(
    rows, gates, heard, point, window, word, shift, back, later, taps, inverse_tau, level, inverse, parameter, grad_x,
    grad_gate, stride, inside,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, LAGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr,
    MEMBRANE: tl.constexpr, STARTS: tl.constexpr, TAPS: tl.constexpr, BEFORE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The membranes of one tile again, then back through its steps.

    Returns the gradients of `point` and of the last gates, as `later`, and this tile's sums for the weights, the bias
    and the threshold. Without `grad_x` only the first and the last of these count.
    """
    membranes, decays, complements, slopes = (), (), (), ()
    v = point
    if STARTS:
        window = of_the_episode(window, word, shift, LAGS, BEFORE)
    for u in tl.static_range(ROWS):
        if STARTS:
            v = v * keep(word, BEFORE + shift + u)
            window = times(window, keep(word, BEFORE + shift + u), LAGS - 1)
        v, decay, complement, slope, window = gated_step(
            gates[u] if LAGS == 0 else None, rows[u], v, window, taps, inverse_tau, GATED, SQUARINGS, LAGS
        )
        membranes, decays = membranes + (v,), decays + (decay,)
        complements, slopes = complements + (complement,), slopes + (slope,)
    to_threshold = tl.zeros_like(point)
    to_bias = to_threshold
    to_taps = ()
    for _ in tl.static_range(LAGS):
        to_taps = to_taps + (to_threshold,)
    for u in tl.static_range(ROWS - 1, -1, -1):
        adjoint, to_threshold = adjoint_of(
            back, heard[u].to(tl.float32), membranes[u], to_threshold, level, inverse, parameter, KIND, MEMBRANE
        )
        entering = membranes[u - 1] if u > 0 else point
        back = decays[u] * adjoint
        if STARTS:
            entering = entering * keep(word, BEFORE + shift + u)
            back = back * keep(word, BEFORE + shift + u)
        if grad_x is not None:
            value = rows[u].to(tl.float32)
            to_x = adjoint * complements[u] if GATED else adjoint
            to_gate = adjoint * (entering - value) * decays[u] * slopes[u] if GATED else adjoint * entering
            if LAGS > 0:
                now = (to_gate,) + later
                to_x = heard_later(taps, now, to_x, 0, LAGS)
                if TAPS:
                    to_taps = added_to_taps(to_taps, value, now, 0, LAGS)
                to_bias += to_gate
                later = pushed(later, to_gate, LAGS - 1)
                if STARTS:
                    later = times(later, keep(word, BEFORE + shift + u), LAGS - 1)
            else:
                tl.store(grad_gate + u * stride, to_gate.to(grad_gate.dtype.element_ty), mask=inside)
            tl.store(grad_x + u * stride, to_x.to(grad_x.dtype.element_ty), mask=inside)
    return back, later, to_taps, to_bias, to_threshold


@triton.jit
def added(totals, sums, COUNT: tl.constexpr):
    grown = ()
    for i in tl.static_range(COUNT):
        grown = grown + (totals[i] + sums[i].to(tl.float64),)
    return grown


@triton.jit(do_not_specialize=["time"])
def gated_backward(
    x, gate, weight, bias, history, threshold, starts, checkpoints, grad_out, grad_end, grad_x, grad_gate, grad_weight,
    grad_bias, grad_history, grad_state, grad_threshold, inverse_tau, parameter, time, width: tl.constexpr,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, LAGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr,
    MEMBRANE: tl.constexpr, BEFORE: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """As in lif_kernels.py. `grad_weight` [batch, LAGS, width], `grad_bias` and `grad_threshold` [batch, width] take
    double sums, or are None. `grad_end` None is zero. With `grad_x` None only `grad_state` is
    found."""
    row, n, inside = place(width, BLOCK)
    stride, tiles = tl.cast(width, tl.int64), time // TILE
    checkpoints += row * (tiles + time % TILE) * stride + n
    last = (row * time + time) * stride + n
    x += last
    grad_out += last
    if LAGS == 0:
        gate += last
    if grad_x is not None:
        grad_x += last
    if grad_gate is not None:
        grad_gate += last
    if LAGS > 1:
        history += row * (LAGS - 1) * stride + n
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    back = tl.zeros_like(level)
    if grad_end is not None:
        back = tl.load(grad_end + row * stride + n, mask=inside, other=0.0)
    taps = load_taps(weight, bias, n, stride, inside, LAGS)
    later, taps_total = (), ()
    for _ in tl.static_range(LAGS - 1):
        later = later + (tl.zeros_like(back),)
    for _ in tl.static_range(LAGS):
        taps_total = taps_total + (tl.zeros([BLOCK], tl.float64),)
    bias_total = tl.zeros([BLOCK], tl.float64)
    threshold_total = tl.zeros([BLOCK], tl.float64)
    STARTS: tl.constexpr = starts is not None
    TAPS: tl.constexpr = grad_weight is not None
    word = 0
    if STARTS:
        starts += row * tl.cdiv(time, TILE)
        word = tl.load(starts + tiles, mask=time % TILE > 0, other=0)
    for i in range(time % TILE):
        left = time % TILE - 1 - i
        x -= stride
        grad_out -= stride
        if LAGS == 0:
            gate -= stride
        if grad_x is not None:
            grad_x -= stride
        if grad_gate is not None:
            grad_gate -= stride
        back, later, to_taps, to_bias, to_threshold = gated_tile_back(
            load_rows(x, stride, inside, 1), load_gates(gate, stride, inside, 1, LAGS),
            load_rows(grad_out, stride, inside, 1),
            tl.load(checkpoints + (tiles + left) * stride, mask=inside, other=0.0),
            load_window(x, history, tiles * TILE + left, stride, inside, LAGS), word, left, back, later, taps,
            inverse_tau, level, inverse, parameter, grad_x, grad_gate, stride, inside,
            GATED, SQUARINGS, LAGS, KIND, STRICT, MEMBRANE, STARTS, TAPS, BEFORE, 1,
        )  # fmt: skip
        taps_total = added(taps_total, to_taps, LAGS)
        bias_total += to_bias.to(tl.float64)
        threshold_total += to_threshold.to(tl.float64)
    some = inside & (tiles > 0)
    x -= TILE * stride
    grad_out -= TILE * stride
    if LAGS == 0:
        gate -= TILE * stride
    rows = load_rows(x, stride, some, TILE)
    gates = load_gates(gate, stride, some, TILE, LAGS)
    heard = load_rows(grad_out, stride, some, TILE)
    point = tl.load(checkpoints + (tiles - 1) * stride, mask=some, other=0.0)
    window = load_window(x, history, (tiles - 1) * TILE, stride, some, LAGS)
    for i in range(tiles):
        tile = tiles - 1 - i
        more = inside & (tile > 0)
        x -= TILE * stride
        grad_out -= TILE * stride
        if LAGS == 0:
            gate -= TILE * stride
        if grad_x is not None:
            grad_x -= TILE * stride
        if grad_gate is not None:
            grad_gate -= TILE * stride
        rows_ahead = load_rows(x, stride, more, TILE)
        gates_ahead = load_gates(gate, stride, more, TILE, LAGS)
        heard_ahead = load_rows(grad_out, stride, more, TILE)
        point_ahead = tl.load(checkpoints + (tile - 1) * stride, mask=more, other=0.0)
        window_ahead = load_window(x, history, (tile - 1) * TILE, stride, more, LAGS)
        if STARTS:
            word = tl.load(starts + tile)
        in_step(BLOCK)
        if always(parameter):
            back, later, to_taps, to_bias, to_threshold = gated_tile_back(
                rows, gates, heard, point, window, word, 0, back, later, taps, inverse_tau, level, inverse, parameter,
                grad_x, grad_gate, stride, inside,
                GATED, SQUARINGS, LAGS, KIND, STRICT, MEMBRANE, STARTS, TAPS, BEFORE, TILE,
            )  # fmt: skip
            taps_total = added(taps_total, to_taps, LAGS)
            bias_total += to_bias.to(tl.float64)
            threshold_total += to_threshold.to(tl.float64)
        rows, gates, heard, point, window = rows_ahead, gates_ahead, heard_ahead, point_ahead, window_ahead
    tl.store(grad_state + row * stride + n, back, mask=inside)
    if grad_x is not None:
        for past in tl.static_range(1, LAGS):  # the inputs before step 0
            value = tl.load(history + (LAGS - 1 - past) * stride, mask=inside, other=0.0)
            to_history = heard_later(taps, later, tl.zeros_like(back), past, LAGS)
            tl.store(grad_history + (row * (LAGS - 1) + LAGS - 1 - past) * stride + n, to_history, mask=inside)
            taps_total = added_to_taps(taps_total, value.to(tl.float64), later, past, LAGS)
    if grad_weight is not None:
        for lag in tl.static_range(LAGS):
            tl.store(grad_weight + (row * LAGS + lag) * stride + n, taps_total[lag], mask=inside)
    if grad_bias is not None:
        tl.store(grad_bias + row * stride + n, bias_total, mask=inside)
    if grad_threshold is not None:
        tl.store(grad_threshold + row * stride + n, threshold_total, mask=inside)
