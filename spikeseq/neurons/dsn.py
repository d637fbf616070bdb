"""The dynamic-decay spiking neuron."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import ops
from ..ops import Surrogate
from ..ops.checks import choice, state_like
from .base import Neuron, State


class DSN(Neuron):
    """Dynamic-decay spiking neuron: the last inputs decide how fast the membrane forgets.

        gate_t = sum_{j<k} weight[:, j] x_{t-j} + bias;   alpha_t = sigmoid(gate_t)^(1/tau)
        u_t = alpha_t u_{t-1} + (1 - alpha_t) x_t;   s_t = round(clip(u_t, 0, N))   or   H(u_t - threshold)

    levels: N for integer spikes (the paper's 4), None for binary ones. decay: "conv" (the paper's causal depthwise
    convolution over the last `kernel_size` inputs), "linear" (a dense map of the present input), "none" (a trained
    constant a channel). tau in steps: the half-life where the gate is 0. The paper leaves depthwise, tau and the
    initial weights open; here weights start uniform in +-1/sqrt(kernel_size) and the bias at 0. State: (u
    [batch, width], last kernel_size - 1 inputs [batch, kernel_size - 1, width]). Source: arXiv 2602.01133.
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
        self.kernel_size = kernel_size if decay == "conv" else 1
        fan_in = {"conv": kernel_size, "linear": width, "none": 0}[decay]
        if fan_in:
            self.weight = nn.Parameter(torch.empty(width, fan_in).uniform_(-(fan_in**-0.5), fan_in**-0.5))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        self._check_width(x)
        membrane, history = self._split(x, state)
        if self.decay == "conv":
            gate, history = ops.sliding(x, self.weight, self.bias, history, starts)
        elif self.decay == "linear":
            gate = nn.functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))
        else:
            gate = self.bias.to(x.dtype).expand_as(x)
        spikes, membrane = ops.dsn(
            x, gate, self.tau, self.threshold, membrane, starts, surrogate=self.surrogate, output=self.output
        )
        return spikes, (membrane, history)

    def _split(self, x: Tensor, state: State) -> tuple[Tensor | None, Tensor]:
        if state is not None and not (isinstance(state, tuple) and len(state) == 2):
            raise ValueError(f"DSN: expected state as (membrane, history), got {type(state).__name__}")
        membrane, history = state if state is not None else (None, None)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        shape = (x.shape[0], self.kernel_size - 1, self.width)
        return membrane, state_like("DSN history", history, shape, x, dtype)

    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        return self._zeros(batch, self.width), self._zeros(batch, self.kernel_size - 1, self.width)

    def dynamics_cost(self) -> dict[str, int]:
        """Gate products and the two-product update; the sigmoid has no place in the 45 nm table and is not counted."""
        gate = {"conv": self.kernel_size, "linear": self.width, "none": 0}[self.decay]
        return {"multiplies": self.width * (gate + 2), "accumulates": self.width * (gate + 2)}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, kernel_size={self.kernel_size}, tau={self.tau}, decay={self.decay!r}"
