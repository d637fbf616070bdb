"""The dynamic-decay spiking neuron."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import ops
from ..ops import Surrogate
from ..ops.checks import choice
from ..ops.native.buffers import fire_flags
from ..ops.native.gated import MAX_LAGS
from ..ops.native.step import StepPlan, plain_rows, row
from .base import Neuron, State


class DSN(Neuron):
    """Dynamic-decay spiking neuron: the last inputs decide how fast the membrane forgets.

        gate_t = sum_{j<k} weight[:, j] x_{t-j} + bias;   alpha_t = sigmoid(gate_t)^(1/tau)
        u_t = alpha_t u_{t-1} + (1 - alpha_t) x_t;   s_t = round(clip(u_t, 0, N))   or   H(u_t - threshold)

    levels: N for integer spikes (the paper's 4), None for binary ones. decay: "conv" (the paper's causal depthwise
    convolution over the last `kernel_size` inputs), "linear" (a dense map of the present input), "none" (a trained
    constant a channel). tau in steps: the half-life where the gate is 0. The paper leaves depthwise, tau and the
    initial weights open; here weights start uniform in +-1/sqrt(kernel_size) and the bias at 0. State: u
    [batch, width]; with "conv" (u, last kernel_size - 1 inputs [batch, kernel_size - 1, width]). Source: arXiv
    2602.01133.
    """

    def __init__(
        self,
        width: int,
        kernel_size: int = 4,
        tau: float = 0.25,
        levels: int | None = 4,
        decay: str = "conv",
        threshold: float = 1.0,
        *,
        surrogate: Surrogate | str | None = None,
        output: str = "spikes",
    ) -> None:
        super().__init__(width, levels=levels, surrogate=surrogate, output=output)
        choice("DSN", "decay", decay, ("conv", "linear", "none"))
        if kernel_size < 1:
            raise ValueError(f"DSN: expected kernel_size >= 1, got {kernel_size}")
        for name, value in (("tau", tau), ("threshold", threshold)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"DSN: expected {name} > 0, got {value}")
        self.tau, self.threshold, self.decay = tau, threshold, decay
        self.kernel_size = kernel_size
        fan_in = {"conv": kernel_size, "linear": width, "none": 0}[decay]
        if fan_in:
            self.weight = nn.Parameter(torch.empty(width, fan_in).uniform_(-(fan_in**-0.5), fan_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        self._check_input(x)
        options = {"surrogate": self.surrogate, "output": self.output}
        if self.decay == "conv":
            return ops.conv_dsn(x, self.weight, self.bias, self.tau, self.threshold, state, starts, **options)
        wide = self._widened(x)
        if self.decay == "linear":
            with torch.autocast(x.device.type, enabled=False):  # a bfloat16 gate would be too coarse a decay
                gate = nn.functional.linear(wide, self.weight.to(wide.dtype), self.bias.to(wide.dtype))
        else:
            gate = self.bias.to(wide.dtype).expand_as(wide)
        spikes, state = ops.dsn(wide, gate, self.tau, self.threshold, state, starts, **options)
        return spikes.to(x.dtype), state

    def _step_settings(self) -> tuple:
        return (self.tau, self.threshold, self.surrogate, self.output)

    def _step_plan(self) -> StepPlan | None:
        numbers = all(isinstance(number, (int, float)) for number in (self.threshold, self.tau))
        if self.decay != "conv" or self.kernel_size > MAX_LAGS or not numbers or not 0 < self.tau < math.inf:
            return None
        tensors = {"weight": self.weight.t(), "bias": self.bias, "threshold": row(self.threshold, self.width)}
        flags = fire_flags(self.surrogate, False, self.output)
        return StepPlan("dsn", tensors, {"tau": self.tau, "lags": self.kernel_size}, flags, history=True)

    def _plain_state(self, state: State, batch: int) -> bool:
        if not isinstance(state, tuple) or len(state) != 2:
            return False
        membrane, history = state
        past = (batch, self.kernel_size - 1, self.width)
        return plain_rows(membrane, (batch, self.width)) and plain_rows(history, past)

    def initial_state(self, batch: int) -> State:
        membrane = self._zeros(batch, self.width)
        return (membrane, self._zeros(batch, self.kernel_size - 1, self.width)) if self.decay == "conv" else membrane

    def dynamics_cost(self) -> dict[str, int]:
        """Gate products and the two-product update; the sigmoid has no place in the 45 nm table and is not counted."""
        gate = {"conv": self.kernel_size, "linear": self.width, "none": 0}[self.decay]
        return {"multiplies": self.width * (gate + 2), "accumulates": self.width * (gate + 2)}

    def extra_repr(self) -> str:
        kernel = f", kernel_size={self.kernel_size}" if self.decay == "conv" else ""
        return f"{super().extra_repr()}{kernel}, tau={self.tau}, decay={self.decay!r}"
