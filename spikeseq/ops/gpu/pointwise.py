"""Spikes of given membranes and the sliding convolution by their kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..native.buffers import plain, reach_of, window_of
from ..surrogate import Surrogate, fire
from .launch import chunks_of, run_patches
from .pointwise_kernels import sliding_backward, sliding_forward, spike_backward, spike_forward


def _total(partial: Tensor | None, axes: tuple[int, ...]) -> Tensor | None:
    return None if partial is None else partial.sum(axes, dtype=torch.float64).float()


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, membrane, threshold, surrogate: Surrogate, strict):
        """membrane: [rows, width]; threshold: [width]."""
        out = torch.empty_like(membrane)
        ctx.flags = {"rows": membrane.shape[0], "parameter": surrogate.parameter, "KIND": surrogate.kind}
        run_patches(spike_forward, membrane, 1, membrane.shape[0], membrane=membrane, threshold=threshold, out=out,
                    STRICT=strict, **ctx.flags)  # fmt: skip
        ctx.save_for_backward(membrane, threshold)
        ctx.options = surrogate, strict
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):
        membrane, threshold = ctx.saved_tensors
        if torch.is_grad_enabled():

            def define(membrane: Tensor, threshold: Tensor):
                return (fire(membrane.float(), threshold, *ctx.options).to(membrane.dtype),)

            return *scan.differentiate(define, (membrane, threshold), grads), None, None
        rows, width = membrane.shape
        grad_membrane, partial = torch.empty_like(membrane), None
        if ctx.needs_input_grad[1]:
            partial = torch.empty(chunks_of(rows), width, dtype=torch.float32, device=membrane.device)
        run_patches(spike_backward, membrane, 1, rows, membrane=membrane, threshold=threshold,
                    grad_out=plain(grads[0]), grad_membrane=grad_membrane, grad_threshold=partial,
                    **ctx.flags)  # fmt: skip
        return grad_membrane, _total(partial, (0,)), None, None


class _Sliding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, state, reach, dtype):
        batch, time, _ = x.shape
        by_lag, out = plain(weight.t()), torch.empty_like(x, dtype=dtype)
        run_patches(sliding_forward, x, batch, time, x=x, weight=by_lag, bias=bias, state=state, reach=reach, out=out,
                    time=time, lags=by_lag.shape[0])  # fmt: skip
        ctx.save_for_backward(x, weight, bias, state, reach)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, weight, bias, state, reach = ctx.saved_tensors
        if torch.is_grad_enabled():
            # only an episode's first step may look at itself alone
            starts = reach == 0 if weight.shape[1] > 1 else None

            def define(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor):
                return (scan.sliding(x.float(), weight, bias, state, starts)[0].to(grads[0].dtype),)

            return *scan.differentiate(define, (x, weight, bias, state), grads), None, None
        by_lag = plain(weight.t())
        lags, (batch, time, width) = by_lag.shape[0], x.shape
        steps = time + lags - 1
        room = (batch, chunks_of(steps))
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(state)
        grad_weight = bias.new_empty(*room, lags, width) if ctx.needs_input_grad[1] else None
        grad_bias = bias.new_empty(*room, width) if ctx.needs_input_grad[2] else None
        run_patches(sliding_backward, x, batch, steps, x=x, weight=by_lag, state=state, reach=reach,
                    grad_out=plain(grads[0]), grad_x=grad_x, grad_state=grad_state, grad_weight=grad_weight,
                    grad_bias=grad_bias, time=time, lags=lags)  # fmt: skip
        total = _total(grad_weight, (0, 1))
        return grad_x, None if total is None else total.t(), _total(grad_bias, (0, 1)), grad_state, None, None


def spike(membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> tuple[Tensor, Tensor]:
    """Spikes, and a tensor that is finite only if every membrane was."""
    width = membrane.shape[-1] if membrane.ndim else 1
    rows = plain(membrane).reshape(-1, width)
    spikes: Tensor = _Spike.apply(rows, plain(threshold.expand(width)), surrogate, strict)  # pyright: ignore
    return spikes.view(membrane.shape), membrane


def sliding(
    x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, starts: Tensor | None, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """`dtype`: of the output, x's own by default."""
    reach = reach_of(x, weight.shape[1], starts)
    tensors = (plain(tensor) for tensor in (x, weight, bias, state))
    y: Tensor = _Sliding.apply(*tensors, reach, dtype or x.dtype)  # pyright: ignore
    return y, history_after(x, state, weight.shape[1], starts)


def history_after(x: Tensor, history: Tensor, lags: int, starts: Tensor | None) -> Tensor:
    """The last lags - 1 inputs of the present episode, from the last steps of `x` alone."""
    time, past = x.shape[1], lags - 1
    if starts is None and time >= past:
        return x[:, time - past :].to(history.dtype, copy=True)
    tail = slice(max(time - past, 0), None)
    starts = None if starts is None else starts[:, tail]
    return window_of(x[:, tail].to(history.dtype), history, reach_of(x[:, tail], lags, starts), starts)
