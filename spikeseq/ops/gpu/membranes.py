"""LIF and PRF by their kernels, as differentiable functions of torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..native.buffers import plain, total_of
from ..surrogate import Surrogate
from .launch import LIF, PRF, checkpoints_for, pairs, rows_for, run
from .lif_kernels import lif_backward, lif_forward
from .prf_kernels import prf_backward, prf_forward


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, threshold, rho, state, starts, surrogate: Surrogate, reset, strict, output):
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x, LIF) if any(ctx.needs_input_grad) else None
        words = LIF.words(starts)
        ctx.flags = {"parameter": surrogate.parameter, "KIND": surrogate.kind, "STRICT": strict, "RESET": reset,
                     "MEMBRANE": output == "membrane", "TILE": LIF.tile}  # fmt: skip
        run(lif_forward, x, LIF.forward, x=x, decay=decay, threshold=threshold, rho=rho, state=state, starts=words,
            out=out, end=end, checkpoints=checkpoints, ROWS=LIF.rows, **ctx.flags)  # fmt: skip
        ctx.save_for_backward(x, decay, threshold, rho, state, starts, words, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, threshold, rho, state, starts, words, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, threshold: Tensor, state: Tensor):
                shared = (starts, surrogate, reset, strict, output, True)
                out, end = scan.lif(x.float(), decay, threshold, rho, state, *shared)
                return out.to(x.dtype), end

            again = scan.differentiate(define, (x, decay, threshold, state), grads)
            return *again[:3], None, again[3], *[None] * 5
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(state)
        grad_decay = rows_for(x) if ctx.needs_input_grad[1] else None
        grad_threshold = rows_for(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run(lif_backward, x, LIF.backward, x=x, decay=decay, threshold=threshold, rho=rho, starts=words,
            checkpoints=checkpoints, grad_out=plain(grads[0]), grad_end=plain(grads[1]), grad_x=grad_x,
            grad_state=grad_state, grad_decay=grad_decay, grad_threshold=grad_threshold, **ctx.flags)  # fmt: skip
        return grad_x, total_of(grad_decay), total_of(grad_threshold), None, grad_state, *[None] * 5


class _PRF(torch.autograd.Function):
    """Output "spikes" or "membrane" as everywhere, or "states": the complex states themselves."""

    @staticmethod
    def forward(ctx, x, decay, gain, threshold, rho, state, starts, surrogate: Surrogate, reset, strict, output):
        wide = output == "states"
        out = torch.empty_like(x, dtype=torch.complex64 if wide else x.dtype)
        end = torch.empty_like(state)
        checkpoints = checkpoints_for(x, PRF, planes=2) if any(ctx.needs_input_grad) else None
        words = PRF.words(starts)
        ctx.flags = {"parameter": surrogate.parameter, "KIND": surrogate.kind, "STRICT": strict, "RESET": reset,
                     "OUTPUT": output, "PAIRS": x.is_complex(), "TILE": PRF.tile}  # fmt: skip
        run(prf_forward, x, PRF.forward, x=pairs(x) if x.is_complex() else x, decay=pairs(decay), gain=gain,
            threshold=threshold, rho=rho, state=pairs(state), starts=words, out=pairs(out) if wide else out,
            end=pairs(end), checkpoints=checkpoints, ROWS=PRF.rows, **ctx.flags)  # fmt: skip
        ctx.save_for_backward(x, decay, gain, threshold, rho, state, starts, words, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, gain, threshold, rho, state, starts, words, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, state: Tensor):
                if output == "states":
                    return scan.linear_scan(gain * x, decay, state, starts)
                shared = (threshold, rho, state, starts, surrogate, reset, strict, output, True)
                out, end = scan.prf(x.float(), decay, gain, *shared)
                return out.to(x.dtype), end

            again = scan.differentiate(define, (x, decay, gain, threshold, state), grads)
            return *again[:4], None, again[4], *[None] * 5
        heard, grad_end = plain(grads[0]), plain(grads[1])
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(state)
        grad_decay = rows_for(x, 2) if ctx.needs_input_grad[1] else None
        grad_gain = rows_for(x) if ctx.needs_input_grad[2] else None
        grad_threshold = rows_for(x) if ctx.needs_input_grad[3] and output == "spikes" else None
        run(prf_backward, x, PRF.backward, x=pairs(x) if x.is_complex() else x, decay=pairs(decay), gain=gain,
            threshold=threshold, rho=rho, starts=words, checkpoints=checkpoints,
            grad_out=pairs(heard) if output == "states" else heard, grad_end=pairs(grad_end),
            grad_x=pairs(grad_x) if x.is_complex() else grad_x, grad_state=pairs(grad_state), grad_decay=grad_decay,
            grad_gain=grad_gain, grad_threshold=grad_threshold, **ctx.flags)  # fmt: skip
        turn = total_of(grad_decay)
        return (
            grad_x, None if turn is None else torch.complex(turn[0], turn[1]), total_of(grad_gain),
            total_of(grad_threshold), None, grad_state, *[None] * 5,
        )  # fmt: skip


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
