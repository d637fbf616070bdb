"""The parallel resonate-and-fire neuron."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import ops
from ..ops import Surrogate
from ..ops.checks import choice
from ..ops.native.buffers import RESETS, fire_flags
from ..ops.native.step import StepPlan, plain_rows, row
from .base import Neuron, State
from .rotation import rotation


class PRF(Neuron):
    """Parallel resonate-and-fire: one complex membrane a channel, no spike-triggered reset by default.

        A = exp(dt * (-1/tau + i theta));   z_t = A z_{t-1} + gain * x_t;   s_t = H(Re z_t - threshold)

    The paper's "reset" is the rotation of the imaginary part. `gain` is dt ("euler", the paper's form) or
    tau * (1 - e^{-dt/tau}) ("zoh", a step input held exactly by the leak). reset="soft" subtracts the threshold
    from Re z after a spike (a complex bias in the decoupled form).

    log_dt: [width], log-uniform in (dt_min, dt_max). log_theta: [width], theta uniform in (0, theta_max) radians per
    unit time; the paper's theta_max is 2 pi / fr_scale. tau in unit time: a constant, or trained per channel through
    its logarithm. State: complex [batch, width]. Source: arXiv 2410.03530, section 4; dt = 1, theta = 0 is LIF
    without reset (its Theorem 2).
    """

    log_tau: Tensor

    def __init__(
        self,
        width: int,
        tau: float = 2.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        theta_max: float = 2 * math.pi,
        threshold: float = 1.0,
        *,
        train_tau: bool = False,
        reset: str = "none",
        discretization: str = "euler",
        levels: int | None = None,
        surrogate: Surrogate | str | None = None,
        output: str = "spikes",
    ) -> None:
        super().__init__(width, levels=levels, surrogate=surrogate, output=output)
        choice("PRF", "reset", reset, ("none", "soft"))
        choice("PRF", "discretization", discretization, ("euler", "zoh"))
        if not (0 < dt_min <= dt_max < math.inf):
            raise ValueError(f"PRF: expected 0 < dt_min <= dt_max, got {dt_min}, {dt_max}")
        for name, value in (("tau", tau), ("theta_max", theta_max), ("threshold", threshold)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"PRF: expected {name} > 0, got {value}")
        self.threshold, self.reset, self.discretization = threshold, reset, discretization
        self.log_dt = nn.Parameter(torch.empty(width).uniform_(math.log(dt_min), math.log(dt_max)))
        # theta = 0 has no logarithm: keep clear of it by a ten-thousandth of the range
        theta = torch.rand(width).mul_(theta_max).clamp_(min=1e-4 * theta_max)
        self.log_theta = nn.Parameter(theta.log_())
        self.train_tau = train_tau
        self.tau = tau
        if train_tau:
            self.log_tau = nn.Parameter(torch.full((width,), math.log(tau)))

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """The complex decay A and the input gain, each [width]."""
        log_tau = self._widened(self.log_tau) if self.train_tau else None
        zoh = self.discretization == "zoh"
        return rotation(self._widened(self.log_dt), self._widened(self.log_theta), log_tau, self.tau, zoh)

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        self._check_input(x)
        decay, gain = self.coefficients()
        return ops.prf(
            x, decay, gain, self.threshold, state, starts,
            reset=self.reset, surrogate=self.surrogate, output=self.output,
        )  # fmt: skip

    def _step_settings(self) -> tuple:
        return (self.tau, self.threshold, self.reset, self.discretization, self.surrogate, self.output)

    def _step_plan(self) -> StepPlan | None:
        if self.reset not in ("none", "soft") or not isinstance(self.threshold, (int, float)):
            return None
        decay, gain = self.coefficients()
        threshold = row(self.threshold, self.width)
        tensors = {"decay": decay, "gain": gain, "threshold": threshold, "rho": threshold}
        flags = fire_flags(self.surrogate, False, self.output)
        return StepPlan("prf", tensors, {"reset": RESETS[self.reset]}, flags)

    def _plain_state(self, state: State, batch: int) -> bool:
        return plain_rows(state, (batch, self.width), torch.complex64)

    def initial_state(self, batch: int) -> Tensor:
        return self._zeros(batch, self.width, dtype=torch.complex64)

    def dynamics_cost(self) -> dict[str, int]:
        """The paper's count (Appendix): 5 multiplies and 3 accumulates a channel; a soft reset adds one accumulate."""
        return {"multiplies": 5 * self.width, "accumulates": (3 + (self.reset == "soft")) * self.width}

    def extra_repr(self) -> str:
        tau = "trained" if self.train_tau else self.tau
        reset = "" if self.reset == "none" else f", reset={self.reset!r}"
        return f"{super().extra_repr()}, tau={tau}, threshold={self.threshold}{reset}"
