"""LIF and PRF by their kernels, as differentiable functions of torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import scan
from ..native.buffers import plain, total_of
from ..surrogate import Surrogate
from .carry import carried
from .launch import LIF, PRF, PRF_MORE, Form, checkpoints_for, heard, pairs, rows_for, run
from .lif_kernels import lif_backward, lif_forward
from .prf_kernels import prf_backward, prf_forward
from .split import chunks_for, cut, in_parts, last_of
from .words import words_of


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, threshold, rho, state, starts, surrogate: Surrogate, reset, strict, output, recorded):
        ctx.set_materialize_grads(False)
        ctx.chunks = chunks_for(x, reset, LIF.rows)
        ctx.options = surrogate, reset, strict, output
        ctx.flags = {"parameter": surrogate.parameter, "KIND": surrogate.kind, "STRICT": strict, "RESET": reset,
                     "MEMBRANE": output == "membrane", "TILE": LIF.tile}  # fmt: skip
        rows, masks = cut(x, ctx.chunks), None if starts is None else cut(starts, ctx.chunks)
        words, begin = words_of(masks, LIF), state
        out, ends = torch.empty_like(x), state.new_empty(len(rows), state.shape[1])
        shown = cut(out, ctx.chunks)

        def walk(begin: Tensor | None, out: Tensor | None, checkpoints: Tensor | None) -> None:
            run(lif_forward, rows, LIF.forward, x=rows, decay=decay, threshold=threshold, rho=rho, state=begin,
                starts=words, out=out, end=ends, checkpoints=checkpoints, ROWS=LIF.rows, **ctx.flags)  # fmt: skip

        if ctx.chunks > 1:
            walk(None, None, None)
            begin = carried(state, ends, ctx.chunks, decay, masks, rows.shape[1])
        checkpoints = checkpoints_for(rows, LIF) if recorded and any(ctx.needs_input_grad) else None
        walk(begin, shown, checkpoints)
        ctx.save_for_backward(x, decay, threshold, rho, state, starts, words, checkpoints)
        return out, last_of(ends, ctx.chunks)

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
            return *again[:3], None, again[3], *[None] * 6
        rows, grad_out = cut(x, ctx.chunks), cut(heard(grads[0], x), ctx.chunks)
        grad_end = None if grads[1] is None else plain(grads[1])
        grad_x, grad_states = torch.empty_like(rows), state.new_empty(len(rows), state.shape[1])

        def walk(back: Tensor | None, grad_x: Tensor | None, **sums: Tensor | None) -> None:
            run(lif_backward, rows, LIF.backward, x=rows, decay=decay, threshold=threshold, rho=rho, starts=words,
                checkpoints=checkpoints, grad_out=grad_out, grad_end=back, grad_x=grad_x, grad_state=grad_states,
                **sums, **ctx.flags)  # fmt: skip

        if ctx.chunks > 1:
            walk(None, None, grad_decay=None, grad_threshold=None)
            masks = None if starts is None else cut(starts, ctx.chunks)
            grad_end = carried(grad_end, grad_states, ctx.chunks, decay, masks, rows.shape[1], back=True)
        grad_decay = rows_for(rows) if ctx.needs_input_grad[1] else None
        grad_threshold = rows_for(rows) if ctx.needs_input_grad[2] and output == "spikes" else None
        walk(grad_end, grad_x, grad_decay=grad_decay, grad_threshold=grad_threshold)
        return (
            grad_x.view(x.shape), total_of(grad_decay), total_of(grad_threshold), None, grad_states[:: ctx.chunks],
            *[None] * 6,
        )  # fmt: skip


def _form_of(reset: str, starts: Tensor | None, output: str) -> Form:
    """Of PRF."""
    return PRF if reset == "none" and starts is None and output != "states" else PRF_MORE


class _PRF(torch.autograd.Function):
    """Output "spikes" or "membrane" as everywhere, or "states": the complex states themselves."""

    @staticmethod
    def forward(
        ctx, x, decay, gain, threshold, rho, state, starts, surrogate: Surrogate, reset, strict, output, recorded
    ):
        ctx.set_materialize_grads(False)
        form = _form_of(reset, starts, output)
        ctx.form, ctx.chunks = form, chunks_for(x, reset, form.rows)
        ctx.options = surrogate, reset, strict, output
        ctx.flags = {"parameter": surrogate.parameter, "KIND": surrogate.kind, "STRICT": strict, "RESET": reset,
                     "OUTPUT": output, "PAIRS": x.is_complex(), "TILE": form.tile}  # fmt: skip
        rows, masks = cut(x, ctx.chunks), None if starts is None else cut(starts, ctx.chunks)
        words, begin = words_of(masks, form), state
        out = torch.empty_like(x, dtype=torch.complex64 if output == "states" else x.dtype)
        shown, ends = cut(out, ctx.chunks), state.new_empty(len(rows), state.shape[1])

        def walk(begin: Tensor | None, out: Tensor | None, checkpoints: Tensor | None) -> None:
            run(prf_forward, rows, form.forward, x=pairs(rows), decay=pairs(decay), gain=gain, threshold=threshold,
                rho=rho, state=pairs(begin), starts=words, out=pairs(out), end=pairs(ends),
                checkpoints=checkpoints, ROWS=form.rows, **ctx.flags)  # fmt: skip

        if ctx.chunks > 1:
            walk(None, None, None)
            begin = carried(state, ends, ctx.chunks, decay, masks, rows.shape[1])
        checkpoints = checkpoints_for(rows, form, planes=2) if recorded and any(ctx.needs_input_grad) else None
        walk(begin, shown, checkpoints)
        ctx.save_for_backward(x, decay, gain, threshold, rho, state, starts, words, checkpoints)
        return out, last_of(ends, ctx.chunks)

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
            return *again[:4], None, again[4], *[None] * 6
        rows = cut(x, ctx.chunks)
        grad_out = cut(heard(grads[0], x, torch.complex64 if output == "states" else None), ctx.chunks)
        grad_end = None if grads[1] is None else plain(grads[1])
        grad_x, grad_states = torch.empty_like(rows), state.new_empty(len(rows), state.shape[1])

        def walk(back: Tensor | None, grad_x: Tensor | None, **sums: Tensor | None) -> None:
            run(prf_backward, rows, ctx.form.backward, x=pairs(rows), decay=pairs(decay), gain=gain,
                threshold=threshold, rho=rho, starts=words, checkpoints=checkpoints, grad_out=pairs(grad_out),
                grad_end=pairs(back), grad_x=pairs(grad_x), grad_state=pairs(grad_states),
                **sums, **ctx.flags)  # fmt: skip

        if ctx.chunks > 1:
            walk(None, None, grad_decay=None, grad_gain=None, grad_threshold=None)
            masks = None if starts is None else cut(starts, ctx.chunks)
            grad_end = carried(grad_end, grad_states, ctx.chunks, decay, masks, rows.shape[1], back=True)
        grad_decay = rows_for(rows, 2) if ctx.needs_input_grad[1] else None
        grad_gain = rows_for(rows) if ctx.needs_input_grad[2] else None
        grad_threshold = rows_for(rows) if ctx.needs_input_grad[3] and output == "spikes" else None
        walk(grad_end, grad_x, grad_decay=grad_decay, grad_gain=grad_gain, grad_threshold=grad_threshold)
        turn = total_of(grad_decay)
        return (
            grad_x.view(x.shape), None if turn is None else torch.complex(turn[0], turn[1]), total_of(grad_gain),
            total_of(grad_threshold), None, grad_states[:: ctx.chunks], *[None] * 6,
        )  # fmt: skip


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    parameters, options = [plain(tensor) for tensor in (decay, threshold, rho)], (surrogate, reset, strict, output)

    def walk(x: Tensor, _: None, starts: Tensor | None, state: Tensor) -> tuple[Tensor, ...]:
        return _LIF.apply(plain(x), *parameters, plain(state), starts, *options, torch.is_grad_enabled())  # pyright: ignore

    return in_parts(walk, reset, LIF.rows, x, None, starts, state)


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """`output` may be "states", too."""
    parameters = [plain(tensor) for tensor in (decay, gain, threshold, rho)]
    options = surrogate, reset, strict, output

    def walk(x: Tensor, _: None, starts: Tensor | None, state: Tensor) -> tuple[Tensor, ...]:
        return _PRF.apply(plain(x), *parameters, plain(state), starts, *options, torch.is_grad_enabled())  # pyright: ignore

    return in_parts(walk, reset, _form_of(reset, starts, output).rows, x, None, starts, state)
