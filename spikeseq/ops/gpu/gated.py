"""DSN, and the scan whose decay varies in time, by their kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .. import scan
from ..native.buffers import plain, total_of
from ..surrogate import Surrogate, atan
from .gated_kernels import gated_backward, gated_forward
from .launch import GATED, checkpoints_for, rows_for, run
from .pointwise import sliding


def _squarings(tau: float) -> int:
    """k where 1/tau = 2^k, for which a power is k squarings; else -1."""
    mantissa, exponent = math.frexp(1.0 / tau)
    return exponent - 1 if mantissa == 0.5 and 1 <= exponent <= 7 else -1


class _Gated(torch.autograd.Function):
    """With tau a DSN whose decay comes from `gate`; with tau None `gate` is the decay and x is taken whole."""

    @staticmethod
    def forward(ctx, x, gate, threshold, state, starts, tau: float | None, surrogate: Surrogate, strict, output):
        out, end = torch.empty_like(x), torch.empty_like(state)
        checkpoints = checkpoints_for(x, GATED) if any(ctx.needs_input_grad) else None
        words = GATED.words(starts)
        ctx.flags = {"inverse_tau": 1.0 if tau is None else 1.0 / tau, "GATED": tau is not None,
                     "SQUARINGS": -1 if tau is None else _squarings(tau), "parameter": surrogate.parameter,
                     "KIND": surrogate.kind, "STRICT": strict, "MEMBRANE": output == "membrane",
                     "TILE": GATED.tile}  # fmt: skip
        run(gated_forward, x, GATED.forward, x=x, gate=gate, threshold=threshold, state=state, starts=words, out=out,
            end=end, checkpoints=checkpoints, **ctx.flags)  # fmt: skip
        ctx.save_for_backward(x, gate, threshold, state, starts, words, checkpoints)
        ctx.options = tau, surrogate, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, gate, threshold, state, starts, words, checkpoints = ctx.saved_tensors
        tau, surrogate, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, gate: Tensor, threshold: Tensor, state: Tensor):
                if tau is None:
                    out, end = scan.linear_scan(x.float(), gate.float(), state, starts)
                else:
                    shared = (tau, threshold, state, starts, surrogate, strict, output)
                    out, end = scan.dsn(x.float(), gate.float(), *shared)
                return out.to(x.dtype), end

            return *scan.differentiate(define, (x, gate, threshold, state), grads), *[None] * 5
        grad_x, grad_gate, grad_state = torch.empty_like(x), torch.empty_like(gate), torch.empty_like(state)
        grad_threshold = rows_for(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run(gated_backward, x, GATED.backward, x=x, gate=gate, threshold=threshold, starts=words,
            checkpoints=checkpoints, grad_out=plain(grads[0]), grad_end=plain(grads[1]), grad_x=grad_x,
            grad_gate=grad_gate, grad_state=grad_state, grad_threshold=grad_threshold, **ctx.flags)  # fmt: skip
        return grad_x, grad_gate, total_of(grad_threshold), grad_state, *[None] * 5


def varying_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    ones = torch.ones_like(state[0])
    return _Gated.apply(plain(x), plain(decay), ones, plain(state), starts, None, atan(), False, "membrane")  # pyright: ignore


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    tensors = (plain(tensor) for tensor in (x, gate, threshold, state))
    return _Gated.apply(*tensors, starts, tau, surrogate, strict, output)  # pyright: ignore


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Two passes: the gate, in float32 whatever x is, then the neuron."""
    gate, history = sliding(x, weight, bias, history, starts, torch.float32)
    return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history
