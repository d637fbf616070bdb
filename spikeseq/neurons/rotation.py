"""From PRF's parameters to what a step multiplies with, and back by its closed form.

    leak = dt / tau;  angle = dt * theta;  A = exp(-leak + i angle);  gain = dt | tau (1 - e^{-leak})

    dL/d log theta = q angle;  dL/d log dt = q angle - p leak + g dt r;  dL/d log tau = p leak (+ g (gain - dt r))
    where p + i q = conj(A) dL/dA,  g = dL/d gain,  r = 1 | e^{-leak}  (the last bracket with "zoh" alone)

It is a handful of operations on vectors of one width, which a GPU spends on being started: torch would differentiate
them one by one, some twenty on the way back for these seven.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..ops.opaque import transformed
from ..ops.scan import differentiate


def _rotation(log_dt: Tensor, log_theta: Tensor, tau: Tensor | float, zoh: bool) -> tuple[Tensor, ...]:
    """A, gain, -leak, angle and dt r."""
    dt = log_dt.exp()
    fall = -dt / tau
    angle, shrink = dt * log_theta.exp(), fall.exp()
    decay = torch.polar(shrink, angle)
    return (decay, -tau * torch.expm1(fall), fall, angle, dt * shrink) if zoh else (decay, dt, fall, angle, dt)


def _define(log_dt: Tensor, log_theta: Tensor, log_tau: Tensor | None, tau: float, zoh: bool) -> tuple[Tensor, ...]:
    return _rotation(log_dt, log_theta, tau if log_tau is None else log_tau.exp(), zoh)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, log_dt, log_theta, log_tau, tau: float, zoh: bool):
        decay, gain, fall, angle, slope = _define(log_dt, log_theta, log_tau, tau, zoh)
        ctx.options = tau, zoh
        ctx.save_for_backward(log_dt, log_theta, log_tau, decay, gain)
        ctx.rates, ctx.slope = torch.stack((fall, angle), -1), slope if zoh else None
        return decay, gain

    @staticmethod
    def backward(ctx, *grads: Tensor):
        log_dt, log_theta, log_tau, decay, gain = ctx.saved_tensors
        if torch.is_grad_enabled():
            given = (log_dt, log_theta) if log_tau is None else (log_dt, log_theta, log_tau)

            def define(*given: Tensor) -> tuple[Tensor, ...]:
                of_tau = None if log_tau is None else given[2]
                return _define(given[0], given[1], of_tau, *ctx.options)[:2]

            found = differentiate(define, given, grads)
            return *found, *[None] * (5 - len(found))
        to_decay, to_gain = grads
        slope = gain if ctx.slope is None else ctx.slope
        leaking, turning = (torch.view_as_real(to_decay.conj() * decay) * ctx.rates).unbind(-1)  # -p leak, -q angle
        to_dt = torch.addcmul(leaking - turning, to_gain, slope)
        to_tau = None
        if log_tau is not None:
            to_tau = -leaking
            if ctx.options[1]:
                to_tau = to_tau + to_gain * (gain - slope)
        return to_dt, -turning, to_tau, None, None


def rotation(log_dt: Tensor, log_theta: Tensor, log_tau: Tensor | None, tau: float, zoh: bool) -> tuple[Tensor, Tensor]:
    """The complex decay A and the input gain, each [width]. log_tau None: `tau` is constant."""
    given = log_dt, log_theta, log_tau, tau, zoh
    if transformed() or forward_ad._current_level >= 0 or not torch.is_grad_enabled():
        return _define(*given)[:2]  # pyright: ignore[reportReturnType]
    return _Rotation.apply(*given)  # pyright: ignore[reportReturnType]
