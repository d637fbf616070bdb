"""The kernels as differentiable functions of torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import reference
from ..scan import differentiate
from ..surrogate import KINDS, Surrogate
from .library import Fire, run

TILE = 32  # steps between two checkpoints, as in tile.h
MAX_LAGS = 8  # of a gate made in the DSN kernel's own pass, as in dsn.h
RESETS = {"none": 0, "soft": 1, "hard": 2}


def _fire(surrogate: Surrogate, strict: bool, output: str) -> Fire:
    return Fire(KINDS.index(surrogate.kind), strict, output == "membrane", surrogate.parameter)


def _checkpoints(x: Tensor, planes: int = 1) -> Tensor:
    return x.new_empty(x.shape[0], -(-x.shape[1] // TILE), planes * x.shape[2])


def _rows(x: Tensor, planes: int = 1) -> Tensor:
    """Room for a parameter's gradient, one row for each sequence: summed in double, the same for any thread count."""
    return x.new_zeros(x.shape[0], planes * x.shape[2], dtype=torch.float64)


def _planar(z: Tensor) -> Tensor:
    """Complex [batch, width] as float [batch, 2, width]."""
    return torch.stack([z.real, z.imag], 1)


def _mask(starts: Tensor | None) -> Tensor | None:
    return None if starts is None else starts.contiguous().view(torch.uint8)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, threshold, rho, state, starts, surrogate, reset, strict, output):
        x, decay, threshold, rho = x.contiguous(), decay.contiguous(), threshold.contiguous(), rho.contiguous()
        out, end = torch.empty_like(x), torch.empty_like(state, memory_format=torch.contiguous_format)
        checkpoints = _checkpoints(x) if any(ctx.needs_input_grad) else None
        options = {"reset": RESETS[reset]}, _fire(surrogate, strict, output)
        run("lif_forward", x, *options, x=x, decay=decay, threshold=threshold, rho=rho, state=state.contiguous(),
            starts=_mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, decay, threshold, rho, state, starts, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, threshold, rho, state, starts, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, threshold: Tensor, state: Tensor):
                return reference.lif(x, decay, threshold, rho, state, starts, *ctx.options, True)

            again = differentiate(define, (x, decay, threshold, state), grads)
            return again[0], again[1], again[2], None, again[3], *[None] * 5
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(grads[1], memory_format=torch.contiguous_format)
        grad_decay = _rows(x) if ctx.needs_input_grad[1] else None
        grad_threshold = _rows(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run("lif_backward", x, {"reset": RESETS[reset]}, _fire(surrogate, strict, output), x=x, decay=decay,
            threshold=threshold, rho=rho, starts=_mask(starts), checkpoints_in=checkpoints,
            grad_out=grads[0].contiguous(), grad_end=grads[1].contiguous(), grad_x=grad_x, grad_state=grad_state,
            grad_decay=grad_decay, grad_threshold=grad_threshold)  # fmt: skip
        return grad_x, _total(grad_decay), _total(grad_threshold), None, grad_state, *[None] * 5


def _total(rows: Tensor | None) -> Tensor | None:
    return None if rows is None else rows.sum(0).float()


def _complex_total(rows: Tensor | None, width: int) -> Tensor | None:
    if rows is None:
        return None
    total = rows.sum(0).float()
    return torch.complex(total[:width], total[width:])


class _PRF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, decay, gain, threshold, rho, state, starts, surrogate, reset, strict, output):
        x, gain, threshold, rho = x.contiguous(), gain.contiguous(), threshold.contiguous(), rho.contiguous()
        decay_re, decay_im = decay.real.contiguous(), decay.imag.contiguous()
        out, begin = torch.empty_like(x), _planar(state)
        end = torch.empty_like(begin)
        checkpoints = _checkpoints(x, planes=2) if any(ctx.needs_input_grad) else None
        run("prf_forward", x, {"reset": RESETS[reset]}, _fire(surrogate, strict, output), x=x, decay_re=decay_re,
            decay_im=decay_im, gain=gain, threshold=threshold, rho=rho, state=begin, starts=_mask(starts), out=out,
            end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, decay, gain, threshold, rho, state, starts, checkpoints)
        ctx.options = surrogate, reset, strict, output
        return out, torch.complex(end[:, 0], end[:, 1])

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, gain, threshold, rho, state, starts, checkpoints = ctx.saved_tensors
        surrogate, reset, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, state: Tensor):
                return reference.prf(x, decay, gain, threshold, rho, state, starts, *ctx.options, True)

            again = differentiate(define, (x, decay, gain, threshold, state), grads)
            return *again[:4], None, again[4], *[None] * 5
        grad_end = _planar(grads[1])
        grad_x, grad_state = torch.empty_like(x), torch.empty_like(grad_end)
        grad_decay = _rows(x, planes=2) if ctx.needs_input_grad[1] else None
        grad_gain = _rows(x) if ctx.needs_input_grad[2] else None
        grad_threshold = _rows(x) if ctx.needs_input_grad[3] and output == "spikes" else None
        run("prf_backward", x, {"reset": RESETS[reset]}, _fire(surrogate, strict, output), x=x,
            decay_re=decay.real.contiguous(), decay_im=decay.imag.contiguous(), gain=gain, threshold=threshold, rho=rho,
            starts=_mask(starts), checkpoints_in=checkpoints, grad_out=grads[0].contiguous(), grad_end=grad_end,
            grad_x=grad_x, grad_state=grad_state, grad_decay=grad_decay, grad_gain=grad_gain,
            grad_threshold=grad_threshold)  # fmt: skip
        return (
            grad_x, _complex_total(grad_decay, x.shape[2]), _total(grad_gain), _total(grad_threshold), None,
            torch.complex(grad_state[:, 0], grad_state[:, 1]), *[None] * 5,
        )  # fmt: skip


class _DSN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gate, threshold, state, starts, tau, surrogate, strict, output):
        x, gate, threshold = x.contiguous(), gate.contiguous(), threshold.contiguous()
        out, end = torch.empty_like(x), torch.empty_like(state, memory_format=torch.contiguous_format)
        checkpoints = _checkpoints(x) if any(ctx.needs_input_grad) else None
        run("dsn_forward", x, {"tau": tau}, _fire(surrogate, strict, output), x=x, gate=gate, threshold=threshold,
            state=state.contiguous(), starts=_mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, gate, threshold, state, starts, checkpoints)
        ctx.options = tau, surrogate, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, gate, threshold, state, starts, checkpoints = ctx.saved_tensors
        tau, surrogate, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, gate: Tensor, threshold: Tensor, state: Tensor):
                return reference.dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output)

            return *differentiate(define, (x, gate, threshold, state), grads), *[None] * 5
        grad_x, grad_gate = torch.empty_like(x), torch.empty_like(gate)
        grad_state = torch.empty_like(grads[1], memory_format=torch.contiguous_format)
        grad_threshold = _rows(x) if ctx.needs_input_grad[2] and output == "spikes" else None
        run("dsn_backward", x, {"tau": tau}, _fire(surrogate, strict, output), x=x, gate=gate, threshold=threshold,
            starts=_mask(starts), checkpoints_in=checkpoints, grad_out=grads[0].contiguous(),
            grad_end=grads[1].contiguous(), grad_x=grad_x, grad_gate=grad_gate, grad_state=grad_state,
            grad_threshold=grad_threshold)  # fmt: skip
        return grad_x, grad_gate, _total(grad_threshold), grad_state, *[None] * 5


class _ConvDSN(torch.autograd.Function):
    """DSN whose gate is the causal convolution of its input, made in the same pass."""

    @staticmethod
    def forward(ctx, x, weight, bias, threshold, state, history, starts, reach, tau, surrogate, strict, output):
        x, by_lag, bias, threshold = x.contiguous(), weight.t().contiguous(), bias.contiguous(), threshold.contiguous()
        history = history.contiguous()
        out, end = torch.empty_like(x), torch.empty_like(state, memory_format=torch.contiguous_format)
        checkpoints = _checkpoints(x) if any(ctx.needs_input_grad) else None
        run("dsn_forward", x, {"tau": tau, "lags": by_lag.shape[0]}, _fire(surrogate, strict, output), x=x,
            weight=by_lag, bias=bias, history=history, reach=reach, threshold=threshold, state=state.contiguous(),
            starts=_mask(starts), out=out, end=end, checkpoints=checkpoints)  # fmt: skip
        ctx.save_for_backward(x, weight, bias, threshold, state, history, starts, reach, checkpoints)
        ctx.options = tau, surrogate, strict, output
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, weight, bias, threshold, state, history, starts, reach, checkpoints = ctx.saved_tensors
        tau, surrogate, strict, output = ctx.options
        if torch.is_grad_enabled():

            def define(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor):
                return reference.conv_dsn(x, weight, bias, threshold, state, history, starts, *ctx.options)[:2]

            return *differentiate(define, (x, weight, bias, threshold, state, history), grads), *[None] * 6
        by_lag = weight.t().contiguous()
        lags, (batch, _, width) = by_lag.shape[0], x.shape
        grad_x, grad_history = torch.empty_like(x), torch.zeros_like(history)
        grad_state = torch.empty_like(grads[1], memory_format=torch.contiguous_format)
        grad_weight = x.new_zeros(batch, lags, width, dtype=torch.float64) if ctx.needs_input_grad[1] else None
        grad_bias = _rows(x) if ctx.needs_input_grad[2] else None
        grad_threshold = _rows(x) if ctx.needs_input_grad[3] and output == "spikes" else None
        run("dsn_backward", x, {"tau": tau, "lags": lags}, _fire(surrogate, strict, output), x=x, weight=by_lag,
            bias=bias, history=history, reach=reach, threshold=threshold, starts=_mask(starts),
            checkpoints_in=checkpoints, grad_out=grads[0].contiguous(), grad_end=grads[1].contiguous(), grad_x=grad_x,
            grad_state=grad_state, grad_threshold=grad_threshold, ahead=torch.zeros_like(history),
            grad_history=grad_history, grad_weight=grad_weight, grad_bias=grad_bias)  # fmt: skip
        total = None if grad_weight is None else grad_weight.sum(0).float().t()
        return grad_x, total, _total(grad_bias), _total(grad_threshold), grad_state, grad_history, *[None] * 6


class _Scan(torch.autograd.Function):
    """Time-varying real decay, or constant complex decay."""

    @staticmethod
    def forward(ctx, x, decay, state, starts):
        x, decay, state = x.contiguous(), decay.contiguous(), state.contiguous()
        name = "complex_scan" if x.is_complex() else "varying_scan"
        out, end = torch.empty_like(x), torch.empty_like(state)
        run(f"{name}_forward", x, {}, None, x=x, decay=decay, state=state, starts=_mask(starts), out=out, end=end)
        ctx.save_for_backward(x, decay, state, starts, out)
        return out, end

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, decay, state, starts, out = ctx.saved_tensors
        if torch.is_grad_enabled():

            def define(x: Tensor, decay: Tensor, state: Tensor):
                return reference.linear_scan(x, decay, state, starts)

            return *differentiate(define, (x, decay, state), grads), None
        grad_x, grad_state = torch.empty_like(x), grads[1].clone(memory_format=torch.contiguous_format)
        shared = {"decay": decay, "state": state, "states": out, "starts": _mask(starts),
                  "grad_out": grads[0].contiguous(), "grad_x": grad_x, "grad_state": grad_state}  # fmt: skip
        if not x.is_complex():
            grad_decay = torch.empty_like(decay)
            run("varying_scan_backward", x, {}, None, **shared, grad_decay=grad_decay)
            return grad_x, grad_decay, grad_state, None
        rows = [_rows(x.real, planes=2) if ctx.needs_input_grad[1] else None for _ in range(2)]
        run("complex_scan_backward", x, {}, None, **shared, grad_direct=rows[0], grad_crossed=rows[1])
        return grad_x, _pairs_total(*rows), grad_state, None


def _pairs_total(direct: Tensor | None, crossed: Tensor | None) -> Tensor | None:
    """`sum adjoint * conj(state)` from the sums of products with the state and with its swapped pairs."""
    if direct is None or crossed is None:
        return None
    straight, across = direct.sum(0).float().view(-1, 2), crossed.sum(0).float().view(-1, 2)
    return torch.complex(straight.sum(1), across[:, 1] - across[:, 0])


class _Sliding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, state, reach):
        x, by_lag, bias, state = x.contiguous(), weight.t().contiguous(), bias.contiguous(), state.contiguous()
        out = torch.empty_like(x)
        run("sliding_forward", x, {"lags": by_lag.shape[0]}, None, x=x, weight=by_lag, bias=bias, state=state,
            reach=reach, out=out)  # fmt: skip
        ctx.save_for_backward(x, weight, bias, state, reach)
        return out

    @staticmethod
    def backward(ctx, *grads: Tensor):
        x, weight, bias, state, reach = ctx.saved_tensors
        if torch.is_grad_enabled():
            # only an episode's first step may look at itself alone
            starts = reach == 0 if weight.shape[1] > 1 else None

            def define(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor):
                return reference.sliding(x, weight, bias, state, starts)[0]

            return *differentiate(define, (x, weight, bias, state), grads), None
        by_lag = weight.t().contiguous()
        lags, (batch, _, width) = by_lag.shape[0], x.shape
        grad_x, grad_state = torch.empty_like(x), torch.zeros_like(state)
        grad_weight = x.new_zeros(batch, lags, width, dtype=torch.float64) if ctx.needs_input_grad[1] else None
        grad_bias = _rows(x) if ctx.needs_input_grad[2] else None
        run("sliding_backward", x, {"lags": lags}, None, x=x, weight=by_lag, state=state, reach=reach,
            grad_out=grads[0].contiguous(), grad_x=grad_x, grad_state=grad_state, grad_weight=grad_weight,
            grad_bias=grad_bias)  # fmt: skip
        total = None if grad_weight is None else grad_weight.sum(0).float().t()
        return grad_x, total, _total(grad_bias), grad_state, None


def lif(
    x: Tensor, decay: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _LIF.apply(x, decay, threshold, rho, state, starts, surrogate, reset, strict, output)  # pyright: ignore


def prf(
    x: Tensor, decay: Tensor, gain: Tensor, threshold: Tensor, rho: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, reset: str, strict: bool, output: str, detach_reset: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _PRF.apply(x, decay, gain, threshold, rho, state, starts, surrogate, reset, strict, output)  # pyright: ignore


def dsn(
    x: Tensor, gate: Tensor, tau: float, threshold: Tensor, state: Tensor, starts: Tensor | None,
    surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    return _DSN.apply(x, gate, threshold, state, starts, tau, surrogate, strict, output)  # pyright: ignore


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    if decay.is_complex():
        return _Scan.apply(x.to(decay.dtype), decay, state, starts)  # pyright: ignore
    if decay.ndim == 3:
        return _Scan.apply(x, decay, state, starts)  # pyright: ignore
    ones = torch.ones_like(decay)  # LIF that never resets, read out as its membrane
    return _LIF.apply(x, decay, ones, ones, state, starts, Surrogate("atan", 2.0), "none", False, "membrane")  # pyright: ignore


def _reach(x: Tensor, lags: int, starts: Tensor | None) -> Tensor:
    """How many lags each step may look back: no further than its episode's start. int32 [batch, time]."""
    past = lags - 1
    if starts is None:
        return torch.full(x.shape[:2], past, dtype=torch.int32)
    steps = torch.arange(x.shape[1])
    since = torch.where(starts, steps, -past - 1).cummax(1).values  # the step at which the present episode began
    return (steps - since).clamp(max=past).to(torch.int32)


def _window(x: Tensor, state: Tensor, reach: Tensor, starts: Tensor | None) -> Tensor:
    """The last inputs of the present episode, as many as the next step may look back to."""
    past, time = state.shape[1], x.shape[1]
    if past == 0:
        return state
    window = torch.cat([state, x], 1)[:, time:] if time < past else x[:, time - past :]
    if starts is not None:
        lag = torch.arange(past - 1, -1, -1)
        window = window * (lag <= reach[:, -1:]).to(x.dtype).unsqueeze(-1)
    return window


def sliding(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    reach = _reach(x, weight.shape[1], starts)
    y: Tensor = _Sliding.apply(x, weight, bias, state, reach)  # pyright: ignore
    return y, _window(x, state, reach, starts)


def conv_dsn(
    x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor, starts: Tensor | None,
    tau: float, surrogate: Surrogate, strict: bool, output: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    if weight.shape[1] > MAX_LAGS:
        gate, history = sliding(x, weight, bias, history, starts)
        return *dsn(x, gate, tau, threshold, state, starts, surrogate, strict, output), history
    reach = _reach(x, weight.shape[1], starts)
    options = tau, surrogate, strict, output
    out, end = _ConvDSN.apply(x, weight, bias, threshold, state, history, starts, reach, *options)  # pyright: ignore
    return out, end, _window(x, history, reach, starts)
