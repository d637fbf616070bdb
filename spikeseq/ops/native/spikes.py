"""Spikes of membranes by their kernels."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from .. import scan
from ..surrogate import KINDS, Surrogate
from .buffers import fire_flags, plain, total_of
from .library import run, short_kernel
from .step import OK, plain_rows, present

FEW = 1 << 14  # of more membranes the checks and the choice of a backend are a small part


class _Spike(torch.autograd.Function):
    """x: [1, rows, width], threshold: [width]. The second output is finite only if all of `x` is."""

    @staticmethod
    def forward(ctx, x, threshold, surrogate, strict):
        out, end = torch.empty_like(x), torch.zeros_like(threshold)
        run("spike_forward", x, {}, fire_flags(surrogate, strict, "spikes"), x=x, threshold=threshold, out=out, end=end)
        ctx.save_for_backward(x, threshold)
        ctx.options = surrogate, strict
        ctx.mark_non_differentiable(end)
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, threshold = ctx.saved_tensors
        surrogate, strict = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, threshold: Tensor):
                return scan.spike(x, threshold, surrogate, strict)[:1]

            return *scan.differentiate(define, (x, threshold), grads[:1]), None, None
        grad_x = torch.empty_like(x)
        sums = torch.zeros_like(threshold, dtype=torch.float64)[None] if ctx.needs_input_grad[1] else None
        run("spike_backward", x, {}, fire_flags(surrogate, strict, "spikes"), x=x, threshold=threshold,
            grad_out=plain(grads[0]), grad_x=grad_x, grad_threshold=sums)  # fmt: skip
        return grad_x, total_of(sums), None, None


def spike(membrane: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool) -> tuple[Tensor, Tensor]:
    rows = membrane.reshape(1, -1, membrane.shape[-1])
    thresholds = plain(threshold.expand(rows.shape[-1]))
    spikes, end = _Spike.apply(plain(rows), thresholds, surrogate, strict)  # pyright: ignore
    return spikes.view(membrane.shape), end


def spike_few(membrane: Tensor, threshold: float, surrogate: Surrogate, strict: bool) -> Tensor | None:
    """Spikes without gradient of few membranes, such as one step's; None: the operation must serve, or say why not."""
    if not plain_rows(membrane, membrane.shape) or not 0 < membrane.numel() <= FEW or not present():
        return None
    out = torch.empty_like(membrane)
    said = short_kernel("spike_few")(
        ctypes.c_void_p(membrane.data_ptr()), ctypes.c_void_p(out.data_ptr()), membrane.numel(),
        ctypes.c_float(threshold), KINDS.index(surrogate.kind), bool(strict), ctypes.c_float(surrogate.parameter),
    )  # fmt: skip
    return out if said == OK else None
