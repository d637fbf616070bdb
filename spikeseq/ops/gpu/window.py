"""The causal convolution that makes a DSN's gate, in registers, with the last LAGS - 1 inputs of the episode at hand.

    gate_t = bias + sum_j taps[j] * x_{t-j};   window[j - 1] = x_{t-j}, or 0 from before the episode

With LAGS = 0 there is no convolution, and all these tuples are empty. Going back, `later[j - 1]` is the gradient of the
gate of step t+j, or 0 where that step does not look back to t.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# ruff: noqa: RUF005 (Triton knows no starred tuples)
from __future__ import annotations

import triton
import triton.language as tl

from .rows import keep, load_rows


@triton.jit
def load_taps(weight, bias, n, stride, inside, LAGS: tl.constexpr):
    """The weights of these channels, lag 0 first, then the bias. weight: [LAGS, width]."""
    taps = ()
    if LAGS > 0:
        taps = load_rows(weight + n, stride, inside, LAGS) + (tl.load(bias + n, mask=inside, other=0.0),)
    return taps


@triton.jit
def load_window(x, history, t, stride, inside, LAGS: tl.constexpr):
    """The window of step `t`, at which `x` points, whatever began since. history: [LAGS - 1, width] before step 0."""
    window = ()
    for lag in tl.static_range(1, LAGS):
        past = tl.load(x - lag * stride, mask=inside & (t >= lag), other=0).to(tl.float32)
        past += tl.load(history + (t + LAGS - 1 - lag) * stride, mask=inside & (t < lag), other=0.0)
        window = window + (past,)
    return window


@triton.jit
def of_the_episode(window, word, u, LAGS: tl.constexpr, BEFORE: tl.constexpr):
    """A loaded window with what lies before the last start cleared; `word` is the tile's, `u` the step in it."""
    held = 1.0
    cleared = ()
    for lag in tl.static_range(1, LAGS):
        if lag > 1:
            held = held * keep(word, BEFORE + u + 1 - lag)
        cleared = cleared + (window[lag - 1] * held,)
    return cleared


@triton.jit
def times(values, factor, COUNT: tl.constexpr):
    scaled = ()
    for i in tl.static_range(COUNT):
        scaled = scaled + (values[i] * factor,)
    return scaled


@triton.jit
def pushed(values, newest, COUNT: tl.constexpr):
    """`values` moved on by one: the newest comes in first, the oldest goes."""
    moved = ()
    for i in tl.static_range(COUNT):
        moved = moved + ((newest if i == 0 else values[i - 1]),)
    return moved


@triton.jit
def convolved(value, window, taps, LAGS: tl.constexpr):
    gate = tl.fma(taps[0], value, taps[LAGS])
    for lag in tl.static_range(1, LAGS):
        gate = tl.fma(taps[lag], window[lag - 1], gate)
    return gate


@triton.jit
def heard_later(values, later, total, FIRST: tl.constexpr, LAGS: tl.constexpr):
    """`total + sum_j values[j] * later[j - FIRST]` over the lags j >= FIRST."""
    for lag in tl.static_range(FIRST, LAGS):
        total = tl.fma(values[lag], later[lag - FIRST], total)
    return total


@triton.jit
def added_to_taps(sums, value, later, FIRST: tl.constexpr, LAGS: tl.constexpr):
    """`sums` of the weights' gradients, and what the input `value` brings to the lags j >= FIRST."""
    total = ()
    for lag in tl.static_range(LAGS):
        brought = sums[lag]
        if lag >= FIRST:
            brought = tl.fma(value, later[lag - FIRST].to(value.dtype), brought)
        total = total + (brought,)
    return total
