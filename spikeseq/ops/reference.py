"""The definition of every operation: a plain loop over time, differentiated by torch.

Every other backend is held to these functions: outputs, final state and every gradient. They take arguments that the
door (`linear.py`, `spiking.py`) has checked and brought to one form: `x` [batch, time, width]; `decay`, `gain`,
`threshold`, `rho` [width]; `state` [batch, width]; `starts` bool [batch, time] or None.

Arithmetic is written in the order in which the native kernels do it (product, product, sum; no fused multiply-add),
so that the two agree bit for bit where both run in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .surrogate import Surrogate, fire


def _keeps(x: Tensor, starts: Tensor | None) -> list[Tensor | None]:
    """Per step, the factor [batch, 1] that clears the state at an episode's start; None where nothing starts."""
    if starts is None:
        return [None] * x.shape[1]
    return list((~starts).to(x.dtype).unsqueeze(-1).unbind(1))


def _rows(x: Tensor) -> list[Tensor]:
    """The steps of `x`. `unbind`, because indexing `x[:, t]` under autograd costs O(T) a step."""
    return list(x.unbind(1))


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """`z_t = decay_t * z_{t-1} + x_t`, real or complex."""
    decays = _rows(decay) if decay.ndim == 3 else [decay] * x.shape[1]
    membranes = []
    for x_t, decay_t, keep in zip(_rows(x), decays, _keeps(x, starts), strict=True):
        if keep is not None:
            state = state * keep
        state = decay_t * state + x_t
        membranes.append(state)
    return torch.stack(membranes, 1), state


def _reset(membrane: Tensor, spikes: Tensor, rho: Tensor, reset: str, detach: bool) -> Tensor:
    if reset == "none":
        return membrane
    if reset == "soft":
        amount = rho * spikes
        return membrane - (amount.detach() if detach else amount)
    return membrane * (1 - (spikes.detach() if detach else spikes))


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`u = decay * v + x; s = fire(u); v = reset(u, s)`."""
    outputs = []
    for x_t, keep in zip(_rows(x), _keeps(x, starts), strict=True):
        if keep is not None:
            state = state * keep
        membrane = decay * state + x_t
        spikes = fire(membrane, threshold, surrogate, strict)
        outputs.append(spikes if output == "spikes" else membrane)
        state = _reset(membrane, spikes, rho, reset, detach_reset)
    return torch.stack(outputs, 1), state


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`z = decay * v + gain * x; s = fire(Re z); v = z - rho * s` (or `v = z`), in real arithmetic."""
    a, c = decay.real, decay.imag
    re, im = state.real, state.imag
    outputs = []
    for x_t, keep in zip(_rows(x), _keeps(x, starts), strict=True):
        if keep is not None:
            re, im = re * keep, im * keep
        membrane, im = (a * re - c * im) + gain * x_t, c * re + a * im
        spikes = fire(membrane, threshold, surrogate, strict)
        outputs.append(spikes if output == "spikes" else membrane)
        re = _reset(membrane, spikes, rho, reset, detach_reset)
    return torch.stack(outputs, 1), torch.complex(re, im)


def gates(gate: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """`alpha = sigmoid(gate)^(1/tau)` and `1 - alpha`, both exact to rounding at either end."""
    log_decay = logsigmoid(gate) / tau
    return torch.exp(log_decay), -torch.expm1(log_decay)


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`u = alpha_t * u + (1 - alpha_t) * x; s = fire(u)`, no reset."""
    decay, complement = gates(gate, tau)
    membrane, state = linear_scan(complement * x, decay, state, starts)
    return (fire(membrane, threshold, surrogate, strict) if output == "spikes" else membrane), state


def sliding(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """`y_t = bias + sum_j weight[:, j] * x_{t-j}`; the state is the last k-1 inputs, oldest first."""
    history = _rows(state)
    outputs = []
    for x_t, keep in zip(_rows(x), _keeps(x, starts), strict=True):
        if keep is not None:
            history = [past * keep for past in history]
        history.append(x_t)
        y_t = bias
        for lag, w in enumerate(weight.unbind(1)):
            y_t = y_t + w * history[-1 - lag]
        outputs.append(y_t.expand_as(x_t))
        history = history[1:]
    return torch.stack(outputs, 1), torch.stack(history, 1) if history else state


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """DSN whose gate is the causal convolution of its input."""
    gate, history = sliding(x, weight, bias, history, starts)
    return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history


def spike(membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> tuple[Tensor, Tensor]:
    """Spikes, and a tensor that is finite only if every membrane was."""
    return fire(membrane, threshold, surrogate, strict), membrane
