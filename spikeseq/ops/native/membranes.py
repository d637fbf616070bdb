"""LIF and PRF by their kernels, as differentiable functions of torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..surrogate import Surrogate
from .buffers import RESETS, checkpoints_for, fire_flags, mask, plain, rows_for, total_of
from .library import run


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, threshold, rho, state, starts, surrogate, reset, strict, output):
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x) if any(ctx.needs_input_grad) else None
        options = {"reset": RESETS[reset]}, fire_flags(surrogate, strict, output)
        run("lif_forward", x, *options, x=x, decay=decay, threshold=threshold, rho=rho, state=state,
            starts=mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, decay, threshold, rho, state, starts, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, threshold, rho, state, starts, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, threshold: Tensor, state: Tensor):
                return scan.lif(x, decay, threshold, rho, state, starts, surrogate, reset, strict, output, True)

            again = scan.differentiate(define, (x, decay, threshold, state), grads)
            return again[0], again[1], again[2], None, again[3], *[None] * 5
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(state)
        grad_decay = rows_for(x) if ctx.needs_input_grad[1] else None
        grad_threshold = rows_for(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run("lif_backward", x, {"reset": RESETS[reset]}, fire_flags(surrogate, strict, output), x=x, decay=decay,
            threshold=threshold, rho=rho, starts=mask(starts), checkpoints_in=checkpoints,
            grad_out=plain(grads[0]), grad_end=plain(grads[1]), grad_x=grad_x, grad_state=grad_state,
            grad_decay=grad_decay, grad_threshold=grad_threshold)  # fmt: skip
        return grad_x, total_of(grad_decay), total_of(grad_threshold), None, grad_state, *[None] * 5


class _PRF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, gain, threshold, rho, state, starts, surrogate, reset, strict, output):
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x, planes=2) if any(ctx.needs_input_grad) else None
        run("prf_forward", x, {"reset": RESETS[reset]}, fire_flags(surrogate, strict, output), x=x, decay=decay,
            gain=gain, threshold=threshold, rho=rho, state=state, starts=mask(starts), out=out, end=end,
            checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, decay, gain, threshold, rho, state, starts, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, gain, threshold, rho, state, starts, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, state: Tensor):
                shared = (threshold, rho, state, starts, surrogate, reset, strict, output, True)
                return scan.prf(x, decay, gain, *shared)

            again = scan.differentiate(define, (x, decay, gain, threshold, state), grads)
            return *again[:4], None, again[4], *[None] * 5
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(state)
        grad_decay = rows_for(x, planes=2) if ctx.needs_input_grad[1] else None
        grad_gain = rows_for(x) if ctx.needs_input_grad[2] else None
        grad_threshold = rows_for(x) if ctx.needs_input_grad[3] and output == "spikes" else None
        run("prf_backward", x, {"reset": RESETS[reset]}, fire_flags(surrogate, strict, output), x=x, decay=decay,
            gain=gain, threshold=threshold, rho=rho, starts=mask(starts), checkpoints_in=checkpoints,
            grad_out=plain(grads[0]), grad_end=plain(grads[1]), grad_x=grad_x, grad_state=grad_state,
            grad_decay=grad_decay, grad_gain=grad_gain, grad_threshold=grad_threshold)  # fmt: skip
        to_decay = total_of(grad_decay)
        if to_decay is not None:
            to_decay = torch.view_as_complex(to_decay.view(-1, 2))
        return grad_x, to_decay, total_of(grad_gain), total_of(grad_threshold), None, grad_state, *[None] * 5


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tensors = (plain(tensor) for tensor in (x, decay, threshold, rho, state))
    return _LIF.apply(*tensors, starts, surrogate, reset, strict, output)  # pyright: ignore


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tensors = (plain(tensor) for tensor in (x, decay, gain, threshold, rho, state))
    return _PRF.apply(*tensors, starts, surrogate, reset, strict, output)  # pyright: ignore
