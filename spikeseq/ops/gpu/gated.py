"""DSN, its gate given or made in the same pass, and the scan whose decay varies in time, by their kernel."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .. import scan
from ..native.buffers import plain, total_of
from ..surrogate import Surrogate, atan
from .carry import carried
from .gated_back_kernels import gated_backward
from .gated_kernels import gated_forward
from .launch import CONVOLVED, GATED, MAX_LAGS, VARYING, Form, checkpoints_for, heard, rows_for, run
from .pointwise import history_after, sliding
from .split import chunks_for, cut, in_parts, inputs_before, last_of
from .words import words_of


def _squarings(tau: float) -> int:
    """k where 1/tau = 2^k, for which a power is k squarings; else -1."""
    mantissa, exponent = math.frexp(1.0 / tau)
    return exponent - 1 if mantissa == 0.5 and 1 <= exponent <= 7 else -1


def _form_of(tau: float | None) -> Form:
    return VARYING if tau is None else GATED


class _Gated(torch.autograd.Function):
    """A DSN with a `gate`, or with `weight`, `bias` and `history` of the convolution that makes it.

    With tau None `gate` is the decay and x is taken whole.
    """

    @staticmethod
    def forward(
        ctx, x, gate, weight, bias, history, threshold, state, starts, tau: float | None, surrogate: Surrogate, strict,
        output, recorded,
    ):  # fmt: skip
        form, lags = (_form_of(tau), 0) if weight is None else (CONVOLVED, weight.shape[1])
        ctx.set_materialize_grads(False)
        chunks = chunks_for(x, "none", form.rows)
        ctx.form, ctx.chunks, ctx.options = form, chunks, (tau, surrogate, strict, output)
        ctx.flags = {"inverse_tau": 1.0 if tau is None else 1.0 / tau, "GATED": tau is not None,
                     "SQUARINGS": -1 if tau is None else _squarings(tau), "LAGS": lags,
                     "parameter": surrogate.parameter, "KIND": surrogate.kind, "STRICT": strict,
                     "MEMBRANE": output == "membrane", "BEFORE": form.before, "TILE": form.tile}  # fmt: skip
        begin, words = state, words_of(None if starts is None else cut(starts, chunks), form)
        rows, gates = cut(x, chunks), None if gate is None else cut(gate, chunks)
        taps, before = None if weight is None else plain(weight.t()), history
        if chunks > 1 and lags > 1:
            before, _ = inputs_before(x, history, starts, chunks)
        out, ends, products = torch.empty_like(x), state.new_empty(len(rows), state.shape[1]), None

        def walk(begin: Tensor | None, out: Tensor | None, product: Tensor | None, checkpoints: Tensor | None) -> None:
            run(gated_forward, rows, form.forward, x=rows, gate=gates, weight=taps, bias=bias, history=before,
                threshold=threshold, state=begin, starts=words, out=out, end=ends, product=product,
                checkpoints=checkpoints, ROWS=form.rows, **ctx.flags)  # fmt: skip

        if chunks > 1:
            products = torch.empty_like(ends)
            walk(None, None, products, None)
            begin = carried(state, ends, chunks, products, None, None)
        checkpoints = checkpoints_for(rows, form) if recorded and any(ctx.needs_input_grad) else None
        walk(begin, cut(out, chunks), None, checkpoints)
        ctx.save_for_backward(
            x, gate, weight, bias, history, threshold, state, starts, words, before, products, checkpoints
        )
        return out, last_of(ends, chunks)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, gate, weight, bias, history, threshold, state, starts, words, before, products, checkpoints = (
            ctx.saved_tensors
        )
        if torch.is_grad_enabled():
            return *_differentiable(ctx, grads), *[None] * 6
        form, chunks, lags = ctx.form, ctx.chunks, ctx.flags["LAGS"]
        rows, grad_out = cut(x, chunks), cut(heard(grads[0], x), chunks)
        grad_end = None if grads[1] is None else plain(grads[1])
        gates, taps = None if gate is None else cut(gate, chunks), None if weight is None else plain(weight.t())
        grad_states = state.new_empty(len(rows), state.shape[1])

        def walk(back: Tensor | None, **found: Tensor | None) -> None:
            run(gated_backward, rows, form.backward, x=rows, gate=gates, weight=taps, bias=bias, history=before,
                threshold=threshold, starts=words, checkpoints=checkpoints, grad_out=grad_out, grad_end=back,
                grad_state=grad_states, **found, **ctx.flags)  # fmt: skip

        wanted = ("x", "gate", "weight", "bias", "history", "threshold")
        if chunks > 1:
            walk(None, **{f"grad_{name}": None for name in wanted})
            grad_end = carried(grad_end, grad_states, chunks, products, None, None, back=True)
        grad_x, grad_gate = torch.empty_like(rows), None if gates is None else torch.empty_like(gates)
        grad_before = torch.empty_like(before) if lags else None
        grad_weight = rows_for(rows, lags) if ctx.needs_input_grad[2] else None
        grad_bias = rows_for(rows) if ctx.needs_input_grad[3] else None
        grad_threshold = rows_for(rows) if ctx.needs_input_grad[5] and ctx.options[3] == "spikes" else None
        buffers = grad_x, grad_gate, grad_weight, grad_bias, grad_before, grad_threshold
        walk(grad_end, **{f"grad_{name}": buffer for name, buffer in zip(wanted, buffers, strict=True)})
        if grad_before is not None and lags > 1 and chunks > 1:
            grad_before = _handed_back(grad_x, grad_before, x, history, starts)
        total = total_of(grad_weight)
        return (
            grad_x.view(x.shape), None if grad_gate is None else grad_gate.view(x.shape),
            None if total is None else total.t(), total_of(grad_bias), grad_before, total_of(grad_threshold),
            grad_states[::chunks], *[None] * 6,
        )  # fmt: skip


def _handed_back(grad_x: Tensor, grad_before: Tensor, x: Tensor, history: Tensor, starts: Tensor | None) -> Tensor:
    """Give the gradients of the inputs before each chunk to the chunk they came from; what is left is the history's."""
    batch, past = history.shape[:2]
    chunks = len(grad_x) // batch
    _, counts = inputs_before(x, history, starts, chunks)
    to_ends = grad_before.unflatten(0, (batch, chunks))
    ends = grad_x.unflatten(0, (batch, chunks))[:, :-1, grad_x.shape[1] - past :]
    ends += to_ends[:, 1:] if counts is None else to_ends[:, 1:] * counts[:, :-1]
    return to_ends[:, 0]


def _differentiable(ctx, grads) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated again: the definition, differentiated by torch."""
    x, gate, weight, bias, history, threshold, state, starts = ctx.saved_tensors[:8]
    tau, surrogate, strict, output = ctx.options
    names = "x", "gate", "weight", "bias", "history", "threshold", "state"
    given = dict(zip(names, (x, gate, weight, bias, history, threshold, state), strict=True))
    present = {name: value for name, value in given.items() if value is not None}

    def define(*values: Tensor):
        of = dict(zip(present, values, strict=True))
        wide, shared = of["x"].float(), (surrogate, strict, output)
        if weight is not None:
            out, end, _ = scan.conv_dsn(wide, of["weight"], of["bias"], of["threshold"], of["state"], of["history"],
                                        starts, tau, *shared)  # fmt: skip
        elif tau is None:
            out, end = scan.linear_scan(wide, of["gate"].float(), of["state"], starts)
        else:
            out, end = scan.dsn(wide, of["gate"].float(), tau, of["threshold"], of["state"], starts, *shared)
        return out.to(x.dtype), end

    found = dict(zip(present, scan.differentiate(define, tuple(present.values()), grads), strict=True))
    return tuple(found.get(name) for name in names)


def varying_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, ...]:
    return _given(x, decay, torch.ones_like(state[0]), state, starts, None, atan(), False, "membrane")


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    return _given(x, gate, plain(threshold), state, starts, tau, surrogate, strict, output)


def _given(x: Tensor, gate: Tensor, threshold: Tensor, state: Tensor, starts: Tensor | None, *options: Any):
    def walk(x: Tensor, gate: Tensor, starts: Tensor | None, state: Tensor) -> tuple[Tensor, ...]:
        return _Gated.apply(
            plain(x), plain(gate), None, None, None, threshold, plain(state), starts, *options, torch.is_grad_enabled()
        )  # pyright: ignore

    return in_parts(walk, "none", _form_of(options[0]).rows, x, gate, starts, state)


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, ...]:  # fmt: skip
    """One pass, or for many lags two: the gate, in float32 whatever x is, then the neuron."""
    if weight.shape[1] > MAX_LAGS:
        gate, history = sliding(x, weight, bias, history, starts, torch.float32)
        return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history
    weight, bias, threshold = (plain(tensor) for tensor in (weight, bias, threshold))

    def walk(
        x: Tensor, _: None, starts: Tensor | None, state: Tensor, history: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, history, state = (plain(tensor) for tensor in (x, history, state))
        options = starts, tau, surrogate, strict, output, torch.is_grad_enabled()
        out, end = _Gated.apply(x, None, weight, bias, history, threshold, state, *options)  # pyright: ignore
        return out, end, history_after(x, history, weight.shape[1], starts)

    return in_parts(walk, "none", CONVOLVED.rows, x, None, starts, state, history)
