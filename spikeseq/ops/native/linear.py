"""Linear scans and the sliding convolution by their kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..surrogate import atan
from .buffers import mask, plain, reach_of, rows_for, total_of, window_of
from .library import run
from .membranes import lif


class _Scan(torch.autograd.Function):
    """Time-varying real decay, or constant complex decay, of real x too."""

    @staticmethod
    def forward(ctx, x, decay, state, starts):
        out, end = torch.empty_like(x, dtype=state.dtype), torch.empty_like(state)
        given = {"x": x, "decay": decay, "state": state, "starts": mask(starts)}
        run(f"{_scan_name(x, decay)}_forward", out, {}, None, **given, out=out, end=end)
        ctx.save_for_backward(x, decay, state, starts, out)
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, state, starts, out = ctx.saved_tensors
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, state: Tensor):
                return scan.linear_scan(x, decay, state, starts)

            return *scan.differentiate(define, (x, decay, state), grads), None
        grad_x, grad_state = torch.empty_like(x), plain(grads[1]).clone()
        shared = {"decay": decay, "state": state, "states": out, "starts": mask(starts),
                  "grad_out": plain(grads[0]), "grad_x": grad_x, "grad_state": grad_state}  # fmt: skip
        if not decay.is_complex():
            grad_decay = torch.empty_like(decay)
            run("varying_scan_backward", out, {}, None, **shared, grad_decay=grad_decay)
            return grad_x, grad_decay, grad_state, None
        rows = [rows_for(out.real, planes=2) if ctx.needs_input_grad[1] else None for _ in range(2)]
        run(f"{_scan_name(x, decay)}_backward", out, {}, None, **shared, grad_direct=rows[0], grad_crossed=rows[1])
        return grad_x, _pairs_total(*rows), grad_state, None


def _scan_name(x: Tensor, decay: Tensor) -> str:
    if not decay.is_complex():
        return "varying_scan"
    return "complex_scan" if x.is_complex() else "mixed_scan"


def _pairs_total(direct: Tensor | None, crossed: Tensor | None) -> Tensor | None:
    """`sum adjoint * conj(state)` from the sums of products with the state and with its swapped pairs."""
    if direct is None or crossed is None:
        return None
    straight, across = direct.sum(0).float().view(-1, 2), crossed.sum(0).float().view(-1, 2)
    return torch.complex(straight.sum(1), across[:, 1] - across[:, 0])


class _Sliding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, state, reach, clear):
        by_lag = plain(weight.t())
        out = torch.empty_like(x)
        run("sliding_forward", x, {"lags": by_lag.shape[0], "clear": clear}, None, x=x, weight=by_lag, bias=bias,
            state=state, reach=reach, out=out)  # fmt: skip
        ctx.save_for_backward(x, weight, bias, state, reach)
        ctx.clear = clear
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, weight, bias, state, reach = ctx.saved_tensors
        if torch.is_grad_enabled():
            # only an episode's first step may look at itself alone
            starts = reach == 0 if weight.shape[1] > 1 else None

            def define(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor):
                return scan.sliding(x, weight, bias, state, starts)[:1]

            return *scan.differentiate(define, (x, weight, bias, state), grads), None, None
        by_lag = plain(weight.t())
        lags, (batch, _, width) = by_lag.shape[0], x.shape
        grad_x, grad_state = torch.empty_like(x), torch.zeros_like(state)
        grad_weight = x.new_zeros(batch, lags, width, dtype=torch.float64) if ctx.needs_input_grad[1] else None
        grad_bias = rows_for(x) if ctx.needs_input_grad[2] else None
        run("sliding_backward", x, {"lags": lags, "clear": ctx.clear}, None, x=x, weight=by_lag, state=state,
            reach=reach, grad_out=plain(grads[0]), grad_x=grad_x, grad_state=grad_state, grad_weight=grad_weight,
            grad_bias=grad_bias)  # fmt: skip
        total = None if grad_weight is None else grad_weight.sum(0).float().t()
        return grad_x, total, total_of(grad_bias), grad_state, None, None


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    if decay.is_complex() or decay.ndim == 3:
        return _Scan.apply(plain(x), plain(decay), plain(state), starts)  # pyright: ignore
    ones = torch.ones_like(decay)  # LIF that never resets, read out as its membrane
    return lif(x, decay, ones, ones, state, starts, atan(), "none", False, "membrane", True)


def sliding(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    reach = reach_of(x, weight.shape[1], starts)
    y: Tensor = _Sliding.apply(plain(x), plain(weight), plain(bias), plain(state), reach, starts is None)  # pyright: ignore
    return y, window_of(x, state, reach, starts)
