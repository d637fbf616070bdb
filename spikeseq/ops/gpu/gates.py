"""How a DSN's decay comes from its gate: alpha = sigmoid(gate)^(1/tau), and 1 - alpha without cancellation."""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
from __future__ import annotations

import triton
import triton.language as tl

from .arithmetic import exponential, reciprocal


@triton.jit
def log_one_plus(y):
    """log(1 + y) for y in [0, 1], to rounding: 2 atanh(y / (2 + y))."""
    s = y * reciprocal(2.0 + y)
    q = s * s
    series = tl.fma(q, 1.0 / 17.0, 1.0 / 15.0)
    series = tl.fma(q, series, 1.0 / 13.0)
    series = tl.fma(q, series, 1.0 / 11.0)
    series = tl.fma(q, series, 1.0 / 9.0)
    series = tl.fma(q, series, 1.0 / 7.0)
    series = tl.fma(q, series, 1.0 / 5.0)
    series = tl.fma(q, series, 1.0 / 3.0)
    return 2.0 * tl.fma(s * q, series, s)


@triton.jit
def one_minus_exp(z):
    """1 - exp(z) for z <= 0, without cancellation near 0: there by its series."""
    near = tl.maximum(z, -0.5)
    series = tl.fma(near, 1.0 / 8.0, 1.0)
    series = tl.fma(near * (1.0 / 7.0), series, 1.0)
    series = tl.fma(near * (1.0 / 6.0), series, 1.0)
    series = tl.fma(near * (1.0 / 5.0), series, 1.0)
    series = tl.fma(near * (1.0 / 4.0), series, 1.0)
    series = tl.fma(near * (1.0 / 3.0), series, 1.0)
    return tl.where(z > -0.5, -tl.fma(near * near * 0.5, series, near), 1.0 - exponential(z))


@triton.jit
def open_gate(gate, inverse_tau, GATED: tl.constexpr, SQUARINGS: tl.constexpr):
    """alpha, 1 - alpha and d(log alpha)/d(gate). Where 1/tau = 2^SQUARINGS the power is repeated squaring.

    1 - s^2 = c (2 - c) with c = 1 - s keeps the complement exact. Any other tau (SQUARINGS < 0) takes the logarithm.
    A decay near 1 is what the complement leaves: rounded apart, the two would not sum to 1.
    """
    if GATED:
        y = exponential(-tl.abs(gate))
        small = y * reciprocal(1.0 + y)
        large = 1.0 - small
        complement = tl.where(gate > 0.0, small, large)  # sigmoid(-gate)
        slope = complement * inverse_tau
        if SQUARINGS >= 0:
            decay = tl.where(gate > 0.0, large, small)
            for _ in tl.static_range(SQUARINGS):
                complement = complement * (2.0 - complement)
                decay = decay * decay
            decay = tl.where(complement < 0.5, 1.0 - complement, decay)
        else:
            log_decay = (tl.minimum(gate, 0.0) - log_one_plus(y)) * inverse_tau
            complement = one_minus_exp(log_decay)
            decay = tl.where(log_decay > -0.5, 1.0 - complement, exponential(log_decay))
    else:
        decay, slope = gate, tl.zeros_like(gate)
        complement = slope + 1.0
    return decay, complement, slope
