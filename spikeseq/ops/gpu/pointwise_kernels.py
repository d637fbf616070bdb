"""What needs no walk along time: spikes of given membranes, and the causal depthwise convolution.

One program works on STEPS steps of BLOCK channels. Sums over steps go out as one partial sum a program, so they are
the same on every run.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

from .fire import adjoint_of, fire


@triton.jit
def patch(steps, width, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    """This program's row of the batch, chunk of steps, first step, channels, and which channels exist."""
    blocks, chunks = tl.cdiv(width, BLOCK), tl.cdiv(steps, STEPS)
    program = tl.program_id(0)
    n = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    chunk = (program // blocks) % chunks
    return (program // blocks // chunks).to(tl.int64), chunk, n, n < width


@triton.jit(do_not_specialize=["rows"])
def spike_forward(
    membrane, threshold, out, parameter, rows, width,
    KIND: tl.constexpr, STRICT: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    _, chunk, n, inside = patch(rows, width, STEPS, BLOCK)
    t = chunk.to(tl.int64) * STEPS + tl.arange(0, STEPS)
    at, here = t[:, None] * width + n[None, :], inside[None, :] & (t < rows)[:, None]
    level = tl.load(threshold + n, mask=inside, other=1.0)
    u = tl.load(membrane + at, mask=here, other=0.0).to(tl.float32)
    spikes = fire(u, level[None, :], tl.div_rn(1.0, level)[None, :], parameter, KIND, STRICT)
    tl.store(out + at, spikes.to(out.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["rows"])
def spike_backward(
    membrane, threshold, grad_out, grad_membrane, grad_threshold, parameter, rows, width,
    KIND: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`grad_threshold` [chunks, width] takes partial sums, or is None."""
    _, chunk, n, inside = patch(rows, width, STEPS, BLOCK)
    t = chunk.to(tl.int64) * STEPS + tl.arange(0, STEPS)
    at, here = t[:, None] * width + n[None, :], inside[None, :] & (t < rows)[:, None]
    level = tl.load(threshold + n, mask=inside, other=1.0)
    inverse = tl.div_rn(1.0, level)[None, :]
    u = tl.load(membrane + at, mask=here, other=0.0).to(tl.float32)
    h = tl.load(grad_out + at, mask=here, other=0.0).to(tl.float32)
    none = tl.zeros_like(h)
    adjoint, to_threshold = adjoint_of(none, h, u, none, level[None, :], inverse, parameter, KIND, False)
    tl.store(grad_membrane + at, adjoint.to(grad_membrane.dtype.element_ty), mask=here)
    if grad_threshold is not None:
        tl.store(grad_threshold + chunk.to(tl.int64) * width + n, tl.sum(to_threshold, axis=0), mask=inside)


@triton.jit(do_not_specialize=["time"])
def sliding_forward(
    x, weight, bias, state, reach, out, time, width, lags, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`y_t = bias + sum_j weight_j * x_{t-j}` over the lags j <= reach_t; weight is [lags, width]."""
    row, chunk, n, inside = patch(time, width, STEPS, BLOCK)
    stride = tl.cast(width, tl.int64)
    t = chunk * STEPS + tl.arange(0, STEPS)
    x += row * time * stride + n[None, :]
    state += row * (lags - 1) * stride + n[None, :]
    far = tl.load(reach + row * time + t, mask=t < time, other=-1)
    y = tl.zeros([STEPS, BLOCK], tl.float32) + tl.load(bias + n, mask=inside, other=0.0)[None, :]
    for lag in range(lags):
        w = tl.load(weight + lag * stride + n, mask=inside, other=0.0)
        at = (t - lag)[:, None]
        here = inside[None, :] & (far >= lag)[:, None]
        value = tl.load(x + at * stride, mask=here & (at >= 0), other=0.0).to(tl.float32)
        value += tl.load(state + (at + lags - 1) * stride, mask=here & (at < 0), other=0.0)
        y += w[None, :] * value
    here = inside[None, :] & (t < time)[:, None]
    tl.store(out + row * time * stride + t[:, None] * stride + n[None, :], y.to(out.dtype.element_ty), mask=here)


@triton.jit(do_not_specialize=["time"])
def sliding_backward(
    x, weight, state, reach, grad_out, grad_x, grad_state, grad_weight, grad_bias, time, width, lags,
    STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Chunks over the lags - 1 steps of the state and then the sequence, so t begins at 1 - lags.

    `grad_weight` [batch, chunks, lags, width] and `grad_bias` [batch, chunks, width] take partial sums, or are None.
    """
    past = lags - 1
    row, chunk, n, inside = patch(time + past, width, STEPS, BLOCK)
    stride = tl.cast(width, tl.int64)
    t = chunk * STEPS + tl.arange(0, STEPS) - past
    partial = row * tl.cdiv(time + past, STEPS) + chunk
    x += row * time * stride + n[None, :]
    state += row * past * stride + n[None, :]
    grad_out += row * time * stride + n[None, :]
    far = tl.load(reach + row * time + t, mask=(t >= 0) & (t < time), other=-1)
    g = tl.load(grad_out + t[:, None] * stride, mask=inside[None, :] & (far >= 0)[:, None], other=0.0).to(tl.float32)
    adjoint = tl.zeros([STEPS, BLOCK], tl.float32)
    for lag in range(lags):
        w = tl.load(weight + lag * stride + n, mask=inside, other=0.0)
        after = t + lag
        hears = tl.load(reach + row * time + after, mask=(after >= 0) & (after < time), other=-1) >= lag
        heard = tl.load(grad_out + after[:, None] * stride, mask=inside[None, :] & hears[:, None], other=0.0)
        adjoint += w[None, :] * heard.to(tl.float32)
        if grad_weight is not None:
            at = (t - lag)[:, None]
            here = inside[None, :] & (far >= lag)[:, None]
            value = tl.load(x + at * stride, mask=here & (at >= 0), other=0.0).to(tl.float32)
            value += tl.load(state + (at + past) * stride, mask=here & (at < 0), other=0.0)
            tl.store(grad_weight + (partial * lags + lag) * stride + n, tl.sum(g * value, axis=0), mask=inside)
    if grad_bias is not None:
        tl.store(grad_bias + partial * stride + n, tl.sum(g, axis=0), mask=inside)
    own = inside[None, :] & ((t >= 0) & (t < time))[:, None]
    grad_x += row * time * stride + t[:, None] * stride + n[None, :]
    tl.store(grad_x, adjoint.to(grad_x.dtype.element_ty), mask=own)
    before = inside[None, :] & (t < 0)[:, None]
    tl.store(grad_state + (row * past + t[:, None] + past) * stride + n[None, :], adjoint, mask=before)
