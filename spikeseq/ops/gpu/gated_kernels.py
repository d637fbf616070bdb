"""DSN: the decay is made from the gate inside the pass, so neither it nor its complement ever reaches memory.

    alpha = sigmoid(gate)^(1/tau);  u = alpha * u + (1 - alpha) * x;  s = fire(u)

With GATED off, `gate` is the decay itself and x comes in whole: the linear scan with a decay that varies in time,
`u = gate * u + x`. The form is that of lif_kernels.py.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl

from .fire import derivative, fire, to_threshold_of
from .rows import checkpoint_of, keep, load_rows, place


@triton.jit
def log_one_plus(y):
    """log(1 + y) for y in [0, 1], to rounding: 2 atanh(y / (2 + y))."""
    s = y / (2.0 + y)
    q = s * s
    series = 1.0 / 15.0 + q * (1.0 / 17.0)
    series = 1.0 / 13.0 + q * series
    series = 1.0 / 11.0 + q * series
    series = 1.0 / 9.0 + q * series
    series = 1.0 / 7.0 + q * series
    series = 1.0 / 5.0 + q * series
    series = 1.0 / 3.0 + q * series
    return 2.0 * (s + s * q * series)


@triton.jit
def one_minus_exp(z):
    """1 - exp(z) for z <= 0, without cancellation near 0: there by its series."""
    near = tl.maximum(z, -0.5)
    series = 1.0 + near * (1.0 / 8.0)
    series = 1.0 + near * (1.0 / 7.0) * series
    series = 1.0 + near * (1.0 / 6.0) * series
    series = 1.0 + near * (1.0 / 5.0) * series
    series = 1.0 + near * (1.0 / 4.0) * series
    series = 1.0 + near * (1.0 / 3.0) * series
    return tl.where(z > -0.5, -(near + near * near * 0.5 * series), 1.0 - tl.exp(z))


@triton.jit
def open_gate(gate, inverse_tau, GATED: tl.constexpr, SQUARINGS: tl.constexpr):
    """alpha, 1 - alpha and d(log alpha)/d(gate). Where 1/tau = 2^SQUARINGS the power is repeated squaring.

    1 - s^2 = c (2 - c) with c = 1 - s keeps the complement exact. Any other tau (SQUARINGS < 0) takes the logarithm.
    """
    if GATED:
        y = tl.exp(-tl.abs(gate))
        small = y / (1.0 + y)
        large = 1.0 - small
        complement = tl.where(gate > 0.0, small, large)  # sigmoid(-gate)
        slope = complement * inverse_tau
        if SQUARINGS >= 0:
            decay = tl.where(gate > 0.0, large, small)
            for _ in tl.static_range(SQUARINGS):
                complement = complement * (2.0 - complement)
                decay = decay * decay
        else:
            log_decay = (tl.minimum(gate, 0.0) - log_one_plus(y)) * inverse_tau
            complement = one_minus_exp(log_decay)
            decay = tl.where(log_decay > -0.5, 1.0 - complement, tl.exp(log_decay))
    else:
        decay, slope = gate, tl.zeros_like(gate)
        complement = slope + 1.0
    return decay, complement, slope


@triton.jit
def gated_step(gate, value, u, inverse_tau, GATED: tl.constexpr, SQUARINGS: tl.constexpr):
    decay, complement, _ = open_gate(gate.to(tl.float32), inverse_tau, GATED, SQUARINGS)
    drive = value.to(tl.float32)
    if GATED:
        drive = complement * drive
    return decay * u + drive


@triton.jit(do_not_specialize=["time"])
def gated_forward(
    x, gate, threshold, state, starts, out, end, checkpoints, inverse_tau, parameter, time, width,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr, MEMBRANE: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    row, n, inside = place(width, BLOCK)
    stride, tiles = tl.cast(width, tl.int64), time // TILE
    x += row * time * stride + n
    gate += row * time * stride + n
    out += row * time * stride + n
    if starts is not None:
        starts += row * tl.cdiv(time, TILE)
    if checkpoints is not None:
        checkpoints += row * (tiles + time % TILE) * stride + n
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    v = tl.load(state + row * stride + n, mask=inside, other=0.0)
    rows = load_rows(x, stride, inside & (tiles > 0), TILE)
    gates = load_rows(gate, stride, inside & (tiles > 0), TILE)
    for tile in range(tiles):
        more = inside & (tile + 1 < tiles)
        x += TILE * stride
        gate += TILE * stride
        rows_ahead = load_rows(x, stride, more, TILE)
        gates_ahead = load_rows(gate, stride, more, TILE)
        if checkpoints is not None:
            tl.store(checkpoints + tile * stride, v, mask=inside)
        if starts is not None:
            word = tl.load(starts + tile)
        for u in tl.static_range(TILE):
            if starts is not None:
                v = v * keep(word, u)
            v = gated_step(gates[u], rows[u], v, inverse_tau, GATED, SQUARINGS)
            shown = v if MEMBRANE else fire(v, level, inverse, parameter, KIND, STRICT)
            tl.store(out, shown.to(out.dtype.element_ty), mask=inside)
            out += stride
        rows, gates = rows_ahead, gates_ahead
    for t in range(tiles * TILE, time):
        if checkpoints is not None:
            slot, kept = checkpoint_of(t, time, TILE)
            tl.store(checkpoints + slot * stride, v, mask=inside & kept)
        if starts is not None:
            v = v * keep(tl.load(starts + t // TILE), t % TILE)
        value = tl.load(x, mask=inside, other=0)
        v = gated_step(tl.load(gate, mask=inside, other=0), value, v, inverse_tau, GATED, SQUARINGS)
        shown = v if MEMBRANE else fire(v, level, inverse, parameter, KIND, STRICT)
        tl.store(out, shown.to(out.dtype.element_ty), mask=inside)
        x += stride
        gate += stride
        out += stride
    tl.store(end + row * stride + n, v, mask=inside)


@triton.jit
def gated_tile_back(
    rows, gates, heard, point, word, shift, back, inverse_tau, level, inverse, parameter, grad_x, grad_gate, stride,
    inside,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr, MEMBRANE: tl.constexpr,
    STARTS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The membranes of one tile again, then back. Returns the gradient of `point` and the threshold's sum."""
    membranes = ()
    v = point
    for u in tl.static_range(ROWS):
        if STARTS:
            v = v * keep(word, shift + u)
        v = gated_step(gates[u], rows[u], v, inverse_tau, GATED, SQUARINGS)
        membranes = membranes + (v,)
    to_threshold = tl.zeros_like(point)
    for u in tl.static_range(ROWS - 1, -1, -1):
        h = heard[u].to(tl.float32)
        if not MEMBRANE:
            h = h * derivative(membranes[u], level, inverse, parameter, KIND)
            to_threshold += to_threshold_of(h, membranes[u], inverse, KIND)
        decay, complement, slope = open_gate(gates[u].to(tl.float32), inverse_tau, GATED, SQUARINGS)
        adjoint = back + h
        entering = point
        if u > 0:
            entering = membranes[u - 1]
        back = decay * adjoint
        if STARTS:
            entering = entering * keep(word, shift + u)
            back = back * keep(word, shift + u)
        if GATED:
            to_x = adjoint * complement
            to_gate = adjoint * (entering - rows[u].to(tl.float32)) * decay * slope
        else:
            to_x = adjoint
            to_gate = adjoint * entering
        tl.store(grad_x + u * stride, to_x.to(grad_x.dtype.element_ty), mask=inside)
        tl.store(grad_gate + u * stride, to_gate.to(grad_gate.dtype.element_ty), mask=inside)
    return back, to_threshold


@triton.jit(do_not_specialize=["time"])
def gated_backward(
    x, gate, threshold, starts, checkpoints, grad_out, grad_end, grad_x, grad_gate, grad_state, grad_threshold,
    inverse_tau, parameter, time, width,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr, MEMBRANE: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """As in lif_kernels.py. `grad_threshold` takes one row of double sums for each row of the batch, or is None."""
    row, n, inside = place(width, BLOCK)
    stride, tiles = tl.cast(width, tl.int64), time // TILE
    checkpoints += row * (tiles + time % TILE) * stride + n
    last = (row * time + time) * stride + n
    x += last
    gate += last
    grad_out += last
    grad_x += last
    grad_gate += last
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    back = tl.load(grad_end + row * stride + n, mask=inside, other=0.0)
    threshold_total = tl.zeros([BLOCK], tl.float64)
    STARTS: tl.constexpr = starts is not None
    word = 0
    if STARTS:
        starts += row * tl.cdiv(time, TILE)
        word = tl.load(starts + tiles, mask=time % TILE > 0, other=0)
    for i in range(time % TILE):
        left = time % TILE - 1 - i
        x -= stride
        gate -= stride
        grad_out -= stride
        grad_x -= stride
        grad_gate -= stride
        back, to_threshold = gated_tile_back(
            load_rows(x, stride, inside, 1), load_rows(gate, stride, inside, 1), load_rows(grad_out, stride, inside, 1),
            tl.load(checkpoints + (tiles + left) * stride, mask=inside, other=0.0), word, left, back, inverse_tau,
            level, inverse, parameter, grad_x, grad_gate, stride, inside,
            GATED, SQUARINGS, KIND, STRICT, MEMBRANE, STARTS, 1,
        )  # fmt: skip
        threshold_total += to_threshold.to(tl.float64)
    some = inside & (tiles > 0)
    x -= TILE * stride
    gate -= TILE * stride
    grad_out -= TILE * stride
    rows = load_rows(x, stride, some, TILE)
    gates = load_rows(gate, stride, some, TILE)
    heard = load_rows(grad_out, stride, some, TILE)
    point = tl.load(checkpoints + (tiles - 1) * stride, mask=some, other=0.0)
    for i in range(tiles):
        tile = tiles - 1 - i
        more = inside & (tile > 0)
        x -= TILE * stride
        gate -= TILE * stride
        grad_out -= TILE * stride
        grad_x -= TILE * stride
        grad_gate -= TILE * stride
        rows_ahead = load_rows(x, stride, more, TILE)
        gates_ahead = load_rows(gate, stride, more, TILE)
        heard_ahead = load_rows(grad_out, stride, more, TILE)
        point_ahead = tl.load(checkpoints + (tile - 1) * stride, mask=more, other=0.0)
        if STARTS:
            word = tl.load(starts + tile)
        back, to_threshold = gated_tile_back(
            rows, gates, heard, point, word, 0, back, inverse_tau, level, inverse, parameter, grad_x, grad_gate, stride,
            inside, GATED, SQUARINGS, KIND, STRICT, MEMBRANE, STARTS, TILE,
        )  # fmt: skip
        threshold_total += to_threshold.to(tl.float64)
        rows, gates, heard, point = rows_ahead, gates_ahead, heard_ahead, point_ahead
    tl.store(grad_state + row * stride + n, back, mask=inside)
    if grad_threshold is not None:
        tl.store(grad_threshold + row * stride + n, threshold_total, mask=inside)
