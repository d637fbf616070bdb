"""DSN: the decay is made from the gate inside the pass, so neither it nor its complement ever reaches memory.

    alpha = sigmoid(gate)^(1/tau);  u = alpha * u + (1 - alpha) * x;  s = fire(u)

Where LAGS > 0 the gate is made there too, by the convolution of window.py; else it is read. With GATED off, `gate` is
the decay itself and x comes in whole: the linear scan with a decay that varies in time, `u = gate * u + x`. The form is
that of lif_kernels.py; a tile's word of starts begins BEFORE steps earlier, for the inputs that its window holds.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

from .fire import fire
from .gates import open_gate
from .rows import always, checkpoint_of, in_step, keep, load_rows, place
from .window import convolved, load_taps, load_window, pushed, times


@triton.jit
def load_gates(gate, stride, mask, ROWS: tl.constexpr, LAGS: tl.constexpr):
    gates = ()
    if LAGS == 0:
        gates = load_rows(gate, stride, mask, ROWS)
    return gates


@triton.jit
def gated_step(
    gate, value, u, window, taps, inverse_tau, GATED: tl.constexpr, SQUARINGS: tl.constexpr, LAGS: tl.constexpr
):
    """The membrane after one step, the gate's decay, 1 - decay and d(log decay)/d(gate), and the window moved on."""
    value = value.to(tl.float32)
    gate = convolved(value, window, taps, LAGS) if LAGS > 0 else gate.to(tl.float32)
    decay, complement, slope = open_gate(gate, inverse_tau, GATED, SQUARINGS)
    if GATED:  # a long memory takes a step towards the input, which rounding cannot carry past it
        near = tl.fma(complement, value - u, u)
        moved = tl.where(complement < 0.5, near, tl.fma(decay, u, complement * value))
    else:
        moved = decay * u + value
    return moved, decay, complement, slope, pushed(window, value, LAGS - 1)


@triton.jit(do_not_specialize=["time"])
def gated_forward(
    x, gate, weight, bias, history, threshold, state, starts, out, end, product, checkpoints, inverse_tau, parameter,
    time, width: tl.constexpr,
    GATED: tl.constexpr, SQUARINGS: tl.constexpr, LAGS: tl.constexpr, KIND: tl.constexpr, STRICT: tl.constexpr,
    MEMBRANE: tl.constexpr, BEFORE: tl.constexpr, BLOCK: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """`product` [batch, width] takes the product of all decays, 0 where an episode starts. It, `state` (zero), `out`,
    `starts` and `checkpoints` may be None; so may `gate`, or else weight [LAGS, width], bias and history."""
    row, n, inside = place(width, BLOCK)
    stride, blocks = tl.cast(width, tl.int64), time // ROWS
    x += row * time * stride + n
    if LAGS == 0:
        gate += row * time * stride + n
    if LAGS > 1:
        history += row * (LAGS - 1) * stride + n
    if out is not None:
        out += row * time * stride + n
    if starts is not None:
        starts += row * tl.cdiv(time, TILE)
    if checkpoints is not None:
        checkpoints += row * (time // TILE + time % TILE) * stride + n
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)
    v = tl.zeros_like(level)
    if state is not None:
        v = tl.load(state + row * stride + n, mask=inside, other=0.0)
    passed = tl.zeros_like(v) + 1.0
    taps = load_taps(weight, bias, n, stride, inside, LAGS)
    window = load_window(x, history, 0, stride, inside, LAGS)
    rows = load_rows(x, stride, inside & (blocks > 0), ROWS)
    gates = load_gates(gate, stride, inside & (blocks > 0), ROWS, LAGS)
    for block in range(blocks):
        if starts is not None:
            words = load_rows(starts + block * (ROWS // TILE), 1, block < blocks, ROWS // TILE)
        more = inside & (block + 1 < blocks)
        x += ROWS * stride
        rows_ahead = load_rows(x, stride, more, ROWS)
        if LAGS == 0:
            gate += ROWS * stride
        gates_ahead = load_gates(gate, stride, more, ROWS, LAGS)
        in_step(BLOCK)
        if always(parameter):
            for u in tl.static_range(ROWS):
                tile = block * (ROWS // TILE) + u // TILE
                if u % TILE == 0 and checkpoints is not None:
                    tl.store(checkpoints + tile * stride, v, mask=inside)
                if starts is not None:
                    held = keep(words[u // TILE], BEFORE + u % TILE)
                    v = v * held
                    passed = tl.where(held == 0.0, 0.0, passed)
                    window = times(window, held, LAGS - 1)
                v, decay, _, _, window = gated_step(
                    gates[u] if LAGS == 0 else None, rows[u], v, window, taps, inverse_tau, GATED, SQUARINGS, LAGS
                )
                passed = passed * decay
                if out is not None:
                    shown = v if MEMBRANE else fire(v, level, inverse, parameter, KIND, STRICT)
                    tl.store(out, shown.to(out.dtype.element_ty), mask=inside)
                    out += stride
        rows, gates = rows_ahead, gates_ahead
    for t in range(blocks * ROWS, time):
        if checkpoints is not None:
            slot, kept = checkpoint_of(t, time, TILE)
            tl.store(checkpoints + slot * stride, v, mask=inside & kept)
        if starts is not None:
            held = keep(tl.load(starts + t // TILE), BEFORE + t % TILE)
            v = v * held
            passed = tl.where(held == 0.0, 0.0, passed)
            window = times(window, held, LAGS - 1)
        opening = tl.load(gate, mask=inside, other=0) if LAGS == 0 else None
        v, decay, _, _, window = gated_step(
            opening, tl.load(x, mask=inside, other=0), v, window, taps, inverse_tau, GATED, SQUARINGS, LAGS
        )
        passed = passed * decay
        if out is not None:
            shown = v if MEMBRANE else fire(v, level, inverse, parameter, KIND, STRICT)
            tl.store(out, shown.to(out.dtype.element_ty), mask=inside)
            out += stride
        x += stride
        if LAGS == 0:
            gate += stride
    tl.store(end + row * stride + n, v, mask=inside)
    if product is not None:
        tl.store(product + row * stride + n, passed, mask=inside)
