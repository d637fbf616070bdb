"""DSN by its kernel, with a given gate or with the gate made in the same pass."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..surrogate import Surrogate
from .buffers import checkpoints_for, fire_flags, mask, plain, reach_of, rows_for, total_of, window_of
from .library import run
from .linear import sliding

MAX_LAGS = 8  # of a gate made in the kernel's own pass, as in dsn.h


class _DSN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gate, threshold, state, starts, tau, surrogate, strict, output):
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x) if any(ctx.needs_input_grad) else None
        run("dsn_forward", x, {"tau": tau}, fire_flags(surrogate, strict, output), x=x, gate=gate, threshold=threshold,
            state=state, starts=mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, gate, threshold, state, starts, checkpoints)
        ctx.options = tau, surrogate, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, gate, threshold, state, starts, checkpoints = ctx.saved_tensors
        tau, surrogate, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, gate: Tensor, threshold: Tensor, state: Tensor):
                return scan.dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output)

            return *scan.differentiate(define, (x, gate, threshold, state), grads), *[None] * 5
        grad_x, grad_gate = torch.empty_like(x), torch.empty_like(gate)
        grad_state = torch.empty_like(state)
        grad_threshold = rows_for(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run("dsn_backward", x, {"tau": tau}, fire_flags(surrogate, strict, output), x=x, gate=gate, threshold=threshold,
            starts=mask(starts), checkpoints_in=checkpoints, grad_out=plain(grads[0]),
            grad_end=plain(grads[1]), grad_x=grad_x, grad_gate=grad_gate, grad_state=grad_state,
            grad_threshold=grad_threshold)  # fmt: skip
        return grad_x, grad_gate, total_of(grad_threshold), grad_state, *[None] * 5


class _ConvDSN(torch.autograd.Function):
    """DSN whose gate is the causal convolution of its input, made in the same pass."""

    @staticmethod
    def forward(ctx, x, weight, bias, threshold, state, history, starts, reach, tau, surrogate, strict, output):
        by_lag = plain(weight.t())
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x) if any(ctx.needs_input_grad) else None
        run("dsn_forward", x, {"tau": tau, "lags": by_lag.shape[0]}, fire_flags(surrogate, strict, output), x=x,
            weight=by_lag, bias=bias, history=history, reach=reach, threshold=threshold, state=state,
            starts=mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, weight, bias, threshold, state, history, starts, reach, checkpoints)
        ctx.options = tau, surrogate, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, weight, bias, threshold, state, history, starts, reach, checkpoints = ctx.saved_tensors
        tau, surrogate, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor):
                return scan.conv_dsn(x, weight, bias, threshold, state, history, starts, *ctx.options)[:2]

            return *scan.differentiate(define, (x, weight, bias, threshold, state, history), grads), *[None] * 6
        by_lag = plain(weight.t())
        lags, (batch, _, width) = by_lag.shape[0], x.shape
        grad_x, grad_history = torch.empty_like(x), torch.zeros_like(history)
        grad_state = torch.empty_like(state)
        grad_weight = x.new_zeros(batch, lags, width, dtype=torch.float64) if ctx.needs_input_grad[1] else None
        grad_bias = rows_for(x) if ctx.needs_input_grad[2] else None
        grad_threshold = rows_for(x) if ctx.needs_input_grad[3] and output == "spikes" else None
        run("dsn_backward", x, {"tau": tau, "lags": lags}, fire_flags(surrogate, strict, output), x=x, weight=by_lag,
            bias=bias, history=history, reach=reach, threshold=threshold, starts=mask(starts),
            checkpoints_in=checkpoints, grad_out=plain(grads[0]), grad_end=plain(grads[1]), grad_x=grad_x,
            grad_state=grad_state, grad_threshold=grad_threshold, ahead=torch.zeros_like(history),
            grad_history=grad_history, grad_weight=grad_weight, grad_bias=grad_bias)  # fmt: skip
        total = None if grad_weight is None else grad_weight.sum(0).float().t()
        return grad_x, total, total_of(grad_bias), total_of(grad_threshold), grad_state, grad_history, *[None] * 6


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tensors = (plain(tensor) for tensor in (x, gate, threshold, state))
    return _DSN.apply(*tensors, starts, tau, surrogate, strict, output)  # pyright: ignore


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    if weight.shape[1] > MAX_LAGS:
        gate, history = sliding(x, weight, bias, history, starts)
        return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history
    reach = reach_of(x, weight.shape[1], starts)
    tensors = (plain(tensor) for tensor in (x, weight, bias, threshold, state, history))
    out, end = _ConvDSN.apply(*tensors, starts, reach, tau, surrogate, strict, output)  # pyright: ignore
    return out, end, window_of(x, history, reach, starts)
