"""The torch backend: any device, any floating dtype, no compiler.

Linear recurrences without a reset run as a two-level loop, 2 * sqrt(T) steps instead of T, while a row of the batch is
too small to keep the machine busy; larger rows and neurons with a reset run row by row. The backward passes are written
by hand as reverse scans. No form here divides by a running product (that loses all precision by T = 32).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import reference
from .surrogate import Surrogate, fire

# batch * width above which one row is work enough for one step: measured on a CPU; elsewhere a step is a few kernel
# launches, which cost the same for a short row and a long one
TWO_LEVEL_BELOW, TWO_LEVEL_BELOW_ELSEWHERE = 1 << 11, 1 << 20
TWO_LEVEL_FROM = 32  # steps


def _states(x: Tensor, decay: Tensor, state: Tensor) -> Tensor:
    """All states of `z_t = decay_t * z_{t-1} + x_t`, no autograd. `decay` is [width] or [batch, time, width]."""
    batch, time, width = x.shape
    below = TWO_LEVEL_BELOW if x.device.type == "cpu" else TWO_LEVEL_BELOW_ELSEWHERE
    if time >= TWO_LEVEL_FROM and batch * width < below:
        return _states_two_level(x, decay, state)
    dtype = torch.promote_types(x.dtype, decay.dtype)
    states = torch.empty(batch, time, width, dtype=dtype, device=x.device)
    z = state
    for t in range(time):
        z = torch.mul(z, decay if decay.ndim == 1 else decay[:, t], out=states[:, t]).add_(x[:, t])
    return states


def _states_two_level(x: Tensor, decay: Tensor, state: Tensor) -> Tensor:
    """Chunks of sqrt(T) steps side by side, then the carry from chunk to chunk, then the carry's share of each step."""
    batch, time, width = x.shape
    length = math.isqrt(time - 1) + 1
    chunks = -(-time // length)
    pad = chunks * length - time
    dtype = torch.promote_types(x.dtype, decay.dtype)

    def fold(a: Tensor) -> Tensor:
        return torch.nn.functional.pad(a, (0, 0, 0, pad)).view(batch, chunks, length, width)

    local = fold(x).to(dtype, copy=True)
    if decay.ndim == 1:
        steps = torch.arange(1, length + 1, device=x.device).unsqueeze(-1)
        products = (decay**steps).expand(batch, chunks, length, width)
        rows = [decay] * length
    else:
        rows = list(fold(decay).unbind(2))
        products = torch.empty_like(local, dtype=decay.dtype)
        products[:, :, 0] = rows[0]
    for i in range(1, length):
        local[:, :, i] += rows[i] * local[:, :, i - 1]
        if decay.ndim == 3:
            torch.mul(products[:, :, i - 1], rows[i], out=products[:, :, i])
    carry = torch.empty(batch, chunks, width, dtype=dtype, device=x.device)
    z = state.to(dtype)
    for k in range(chunks):
        carry[:, k] = z
        z = products[:, k, -1] * z + local[:, k, -1]
    local += products * carry.unsqueeze(2)
    return local.view(batch, chunks * length, width)[:, :time].contiguous()


def _kept(decay: Tensor, starts: Tensor | None) -> Tensor:
    """The decay with zeros where an episode starts."""
    return decay if starts is None else decay * (~starts).to(decay.dtype).unsqueeze(-1)


def _shifted(states: Tensor, state: Tensor) -> Tensor:
    """The state that enters each step."""
    return torch.cat([state.unsqueeze(1), states[:, :-1]], 1)


class _LinearScan(torch.autograd.Function):
    """Its backward is made of itself and torch operations, so it can be differentiated as often as one likes."""

    @staticmethod
    def forward(ctx, x: Tensor, decay: Tensor, state: Tensor) -> Tensor:
        states = _states(x, decay, state)
        ctx.save_for_backward(decay, state, states)
        ctx.real_input = not x.is_complex()
        return states

    @staticmethod
    def backward(ctx, *grads: Tensor):
        decay, state, states = ctx.saved_tensors
        conj = decay.conj().resolve_conj()
        # step t hears of step t+1 through the decay of step t+1
        ahead = conj if conj.ndim == 1 else torch.cat([conj[:, 1:], torch.zeros_like(conj[:, :1])], 1).flip(1)
        adjoint = scan_states(grads[0].flip(1), ahead, torch.zeros_like(state)).flip(1)
        first = conj if conj.ndim == 1 else conj[:, 0]
        grad_decay = None
        if ctx.needs_input_grad[1]:
            grad_decay = adjoint * _shifted(states, state).conj()
            if not decay.is_complex() and grad_decay.is_complex():
                grad_decay = grad_decay.real
            if decay.ndim == 1:
                grad_decay = grad_decay.sum((0, 1))
        grad_state = adjoint[:, 0] * first if ctx.needs_input_grad[2] else None
        return adjoint.real if ctx.real_input and adjoint.is_complex() else adjoint, grad_decay, grad_state


def scan_states(x: Tensor, decay: Tensor, state: Tensor) -> Tensor:
    """All states of the linear recurrence, differentiable."""
    states: Tensor = _LinearScan.apply(x, decay, state)  # pyright: ignore[reportAssignmentType]
    return states


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    states = scan_states(x, _kept(decay, starts), state)
    return states, states[:, -1].clone()  # a view would keep the whole sequence alive as long as the state


class _ResetScan(torch.autograd.Function):
    """LIF and PRF with a spike-triggered reset: real or complex state, soft or hard, the reset detached."""

    @staticmethod
    def forward(ctx, drive, decay, threshold, rho, state, keep, surrogate: Surrogate, reset, strict, output):
        membranes, spikes = torch.empty_like(drive), torch.empty_like(drive)
        states = torch.empty(drive.shape, dtype=decay.dtype, device=drive.device)
        v = state
        for t in range(drive.shape[1]):
            if keep is not None:
                v = v * keep[:, t]
            z = torch.mul(v, decay, out=states[:, t]).add_(drive[:, t])
            membranes[:, t] = z.real if z.is_complex() else z
            spikes[:, t] = s = surrogate.fire(membranes[:, t], threshold, strict)
            v = z.sub_(rho * s) if reset == "soft" else z.mul_(1 - s)
        ctx.save_for_backward(drive, decay, threshold, rho, state, keep, membranes, spikes, states)
        ctx.options = surrogate, reset, strict, output
        return (spikes if output == "spikes" else membranes), v.clone()

    @staticmethod
    def backward(ctx, *grads: Tensor):
        drive, decay, threshold, _, state, keep, membranes, spikes, states = ctx.saved_tensors
        surrogate, reset, _, output = ctx.options
        if torch.is_grad_enabled():
            return _reset_scan_again(ctx, grads)
        h = grads[0]
        if output == "spikes":
            h = h * surrogate.derivative(membranes, threshold)
        conj = decay.conj().resolve_conj()
        adjoints = torch.empty_like(states)
        carried = grads[1]
        for t in range(drive.shape[1] - 1, -1, -1):
            if reset == "hard":
                carried = carried * (1 - spikes[:, t])
            row = torch.add(carried, h[:, t], out=adjoints[:, t])
            carried = row * conj
            if keep is not None:
                carried = carried * keep[:, t]
        entering = _shifted(states, state)
        if keep is not None:
            entering = entering * keep
        grad_decay = (adjoints * entering.conj()).sum((0, 1)) if ctx.needs_input_grad[1] else None
        grad_threshold = None
        if output == "spikes" and ctx.needs_input_grad[2]:
            slope = membranes / threshold if surrogate.kind == "integer" else 1.0
            grad_threshold = -(h * slope).sum((0, 1))
        grad_drive = adjoints.real if adjoints.is_complex() else adjoints
        return grad_drive, grad_decay, grad_threshold, None, carried, None, None, None, None, None


def _reset_scan_again(ctx, grads):
    """Gradients that can be differentiated again: the definition, differentiated by torch."""
    drive, decay, threshold, rho, state, keep = ctx.saved_tensors[:6]
    surrogate, reset, strict, output = ctx.options
    starts = None if keep is None else keep.squeeze(-1) == 0

    def define(drive: Tensor, decay: Tensor, threshold: Tensor, state: Tensor):
        shared = (threshold, rho, state, starts, surrogate, reset, strict, output, True)
        if decay.is_complex():
            return reference.prf(drive, decay, torch.ones_like(rho), *shared)
        return reference.lif(drive, decay, *shared)

    drive_, decay_, threshold_, state_ = differentiate(define, (drive, decay, threshold, state), grads)
    return drive_, decay_, threshold_, None, state_, None, None, None, None, None


def differentiate(define, inputs: tuple[Tensor, ...], grads) -> tuple[Tensor | None, ...]:
    """Vector-Jacobian products of `define(*inputs)` that stay part of the graph; None for inputs without gradient."""
    with torch.enable_grad():
        # aliases: an input may itself be made from another one, whose gradient must not be counted twice
        aliases = [tensor.view_as(tensor) for tensor in inputs]
        wanted = [alias for alias in aliases if alias.requires_grad]
        outputs = define(*aliases)
        pairs = [
            (out, grad) for out, grad in zip(outputs, grads, strict=True) if out.requires_grad and grad is not None
        ]
        found = iter(
            torch.autograd.grad(
                [out for out, _ in pairs], wanted, [grad for _, grad in pairs], create_graph=True, allow_unused=True
            )
        )
        return tuple(next(found) if alias.requires_grad else None for alias in aliases)


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if reset == "none":
        membrane, state = linear_scan(x, decay, state, starts)
        return (fire(membrane, threshold, surrogate, strict) if output == "spikes" else membrane), state
    keep = None if starts is None else (~starts).to(x.dtype).unsqueeze(-1)
    return _ResetScan.apply(x, decay, threshold, rho, state, keep, surrogate, reset, strict, output)  # pyright: ignore


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    drive = gain * x
    if reset == "none":
        states, state = linear_scan(drive, decay, state, starts)
        membrane = states.real
        return (fire(membrane, threshold, surrogate, strict) if output == "spikes" else membrane), state
    keep = None if starts is None else (~starts).to(x.dtype).unsqueeze(-1)
    return _ResetScan.apply(drive, decay, threshold, rho, state, keep, surrogate, reset, strict, output)  # pyright: ignore


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    decay, complement = reference.gates(gate, tau)
    membrane, state = linear_scan(complement * x, decay, state, starts)
    return (fire(membrane, threshold, surrogate, strict) if output == "spikes" else membrane), state


def sliding(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    """One weighted shift a lag. With starts, a lag counts only where it reaches back into the same episode."""
    time, lags = x.shape[1], weight.shape[1]
    padded = torch.cat([state, x], 1)
    y = bias + weight[:, 0] * x
    past = state if lags == 1 else padded[:, time:]
    if starts is None:
        for lag in range(1, lags):
            y = y + weight[:, lag] * padded[:, lags - 1 - lag : lags - 1 - lag + time]
        return y, past
    episode = torch.nn.functional.pad(starts.cumsum(1), (lags - 1, 0)).unsqueeze(-1)
    here = episode[:, lags - 1 :]
    for lag in range(1, lags):
        window = slice(lags - 1 - lag, lags - 1 - lag + time)
        y = y + weight[:, lag] * (padded[:, window] * (episode[:, window] == here).to(x.dtype))
    return y, past * (episode[:, time:] == here[:, -1:]).to(x.dtype) if lags > 1 else past


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """DSN whose gate is the causal convolution of its input."""
    gate, history = sliding(x, weight, bias, history, starts)
    return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history


def spike(membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> tuple[Tensor, Tensor]:
    """Spikes, and a tensor that is finite only if every membrane was."""
    if not torch.is_grad_enabled():
        return surrogate.fire(membrane, threshold, strict), membrane
    return fire(membrane, threshold, surrogate, strict), membrane
