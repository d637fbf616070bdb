"""From PRF's parameters to what a step multiplies with, and back by its closed form.

    fall = -dt / tau;  angle = dt * theta;  A = exp(fall + i angle);  gain = dt | tau (1 - e^fall)

    dL/d log theta = q angle
    dL/d log dt    = q angle + p fall + g r
    dL/d log tau   =        - p fall (+ g (gain - r))

    p + i q = conj(A) dL/dA,  g = dL/d gain,  r = dt | dt e^fall  (the last bracket with "zoh" alone)

It is a handful of operations on vectors of one width, which a GPU spends on being started: torch would differentiate
them one by one, some twenty on the way back for these seven.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..ops.opaque import transformed


def _define(
    log_dt: Tensor, log_theta: Tensor, log_tau: Tensor | None, tau: float, zoh: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """A, gain, fall and angle, and with "zoh" r."""
    dt, scale = log_dt.exp(), tau if log_tau is None else log_tau.exp()
    fall = -dt / scale
    angle, shrink = dt * log_theta.exp(), fall.exp()
    decay = torch.polar(shrink, angle)
    if zoh:
        return decay, -scale * torch.expm1(fall), fall, angle, dt * shrink
    return decay, dt, fall, angle, None


class _Rotation(torch.autograd.Function):
    """It keeps its outputs alone, so that the parameters may change before the way back; what only that way needs is
    an output too, and so the way back can be differentiated again."""

    @staticmethod
    def forward(ctx, *given):
        found = _define(*given)
        ctx.set_materialize_grads(False)
        ctx.with_tau = given[2] is not None
        ctx.save_for_backward(*found)
        return found

    @staticmethod
    def backward(ctx, *grads: Tensor | None):
        decay, gain, fall, angle, slope = ctx.saved_tensors
        to_decay, to_gain, to_fall, to_angle, to_slope = grads
        to_dt, to_theta, to_tau = [], [], []  # the summands of each
        if to_decay is not None:
            turned = torch.view_as_real(to_decay.conj() * decay)  # p and -q
            leaking, turning = turned[..., 0] * fall, turned[..., 1] * angle
            to_dt, to_theta, to_tau = [leaking - turning], [-turning], [-leaking] if ctx.with_tau else []
        if to_gain is not None:
            to_dt.append(to_gain * (gain if slope is None else slope))
            if slope is not None:
                to_tau.append(to_gain * (gain - slope))
        if to_fall is not None:
            to_dt.append(to_fall * fall)
            to_tau.append(-to_fall * fall)
        if to_angle is not None:
            to_dt.append(to_angle * angle)
            to_theta.append(to_angle * angle)
        if to_slope is not None and slope is not None:
            to_dt.append(to_slope * slope * (1 + fall))
            to_tau.append(-to_slope * slope * fall)
        sums = [_sum(to_dt), _sum(to_theta), _sum(to_tau) if ctx.with_tau else None]
        return *sums, None, None


def _sum(summands: list[Tensor]) -> Tensor | None:
    return sum(summands[1:], summands[0]) if summands else None


def rotation(log_dt: Tensor, log_theta: Tensor, log_tau: Tensor | None, tau: float, zoh: bool) -> tuple[Tensor, Tensor]:
    """The complex decay A and the input gain, each [width]. log_tau None: `tau` is constant."""
    given = log_dt, log_theta, log_tau, tau, zoh
    if transformed() or forward_ad._current_level >= 0 or not torch.is_grad_enabled():
        return _define(*given)[:2]
    return _Rotation.apply(*given)[:2]  # pyright: ignore[reportReturnType, reportOptionalSubscript]
