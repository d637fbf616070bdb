"""Leaky integrate-and-fire."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import ops
from ..ops import Surrogate
from ..ops.checks import choice
from ..ops.native.buffers import RESETS, fire_flags
from ..ops.native.step import StepPlan, row
from .base import Neuron, State


class LIF(Neuron):
    """Leaky integrate-and-fire with its true reset, exact in parallel.

        u_t = decay * v_{t-1} + input_gain * x_t;   s_t = H(u_t - threshold);   v_t = u_t - rho * s_t

    decay in [0, 1] per step, one number or one a channel; trained through its logit if `train_decay`. reset: "soft"
    (subtract `rho`, the threshold if None), "hard" (to zero) or "none". strict: fire at u > threshold, not >=.
    State: v, the membrane after the reset, [batch, width]. Settings that give the spikes of other libraries:

        spikingjelly LIFNode(tau, decay_input=False)   decay = 1 - 1/tau
        spikingjelly LIFNode(tau, decay_input=True)    decay = 1 - 1/tau, input_gain = 1/tau
        snntorch Leaky(beta)                           decay = beta, rho = threshold / beta, strict = True
        norse LIFBox (a = dt * tau_mem_inv)            decay = 1 - a, input_gain = a, strict = True
        sinabs LIF(tau, SingleSpike)                   decay = exp(-1/tau)

    Source: the sequential definition of arXiv 2410.03530; its gradient is the decoupled reset's (Algorithm 2).
    """

    decay_logit: Tensor
    decay_values: Tensor

    def __init__(
        self,
        width: int,
        decay: float | Sequence[float] | Tensor = 0.9,
        threshold: float = 1.0,
        reset: str = "soft",
        rho: float | None = None,
        strict: bool = False,
        *,
        input_gain: float = 1.0,
        train_decay: bool = False,
        levels: int | None = None,
        surrogate: Surrogate | str | None = None,
        output: str = "spikes",
    ) -> None:
        super().__init__(width, levels=levels, surrogate=surrogate, output=output)
        choice("LIF", "reset", reset, ("soft", "hard", "none"))
        value = torch.as_tensor(decay, dtype=torch.get_default_dtype())
        if value.ndim > 1 or (value.ndim == 1 and value.shape[0] != width):
            raise ValueError(f"LIF: expected decay as one number or {width}, got shape {tuple(value.shape)}")
        if not bool(((value >= 0) & (value <= 1)).all()):
            raise ValueError(f"LIF: expected decay in [0, 1], got {decay}")
        if not threshold > 0:
            raise ValueError(f"LIF: expected threshold > 0, got {threshold}")
        if reset == "hard" and self.levels not in (None, 1):
            raise ValueError(
                f"LIF: expected reset 'soft' or 'none' with integer spikes, got 'hard' with levels={levels}"
            )
        for name, number in (("rho", rho), ("input_gain", input_gain)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"LIF: expected a finite {name}, got {number}")
        if train_decay:
            if not bool(((value > 0) & (value < 1)).all()):
                raise ValueError(f"LIF: expected decay inside (0, 1) to train it, got {decay}")
            self.decay_logit = nn.Parameter(torch.logit(value.expand(width)).clone())
        else:
            self.register_buffer("decay_values", value.clone(), persistent=False)
        self.train_decay = train_decay
        # one number is kept as Python's double too, so that a float64 run has all of it
        self.fixed_decay = float(decay) if isinstance(decay, (int, float)) and not train_decay else None
        self.threshold, self.reset, self.rho, self.strict, self.input_gain = threshold, reset, rho, strict, input_gain

    @property
    def decay(self) -> Tensor:
        """The leak per step: one number or [width]."""
        return torch.sigmoid(self.decay_logit) if self.train_decay else self.decay_values

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        self._check_input(x)
        drive = x if self.input_gain == 1.0 else self._widened(x) * self.input_gain
        spikes, state = ops.lif(
            drive, self.decay if self.fixed_decay is None else self.fixed_decay, self.threshold, state, starts,
            reset=self.reset, rho=self.rho, strict=self.strict, surrogate=self.surrogate, output=self.output,
        )  # fmt: skip
        return spikes.to(x.dtype), state

    def _step_settings(self) -> tuple:
        return (self.fixed_decay, self.threshold, self.reset, self.rho, self.strict, self.input_gain, self.surrogate,
                self.output)  # fmt: skip

    def _step_plan(self) -> StepPlan | None:
        rho = self.threshold if self.rho is None else self.rho
        numbers = all(isinstance(number, (int, float)) for number in (self.threshold, rho))
        if self.input_gain != 1.0 or self.reset not in RESETS or not numbers:
            return None
        # the double, where there is one: `forward` takes it too, and a module that was in bfloat16 has lost digits
        decay = self.decay if self.fixed_decay is None else row(self.fixed_decay, self.width)
        tensors = {"decay": decay.expand(self.width), "threshold": row(self.threshold, self.width),
                   "rho": row(rho, self.width)}  # fmt: skip
        flags = fire_flags(self.surrogate, self.strict, self.output)
        return StepPlan("lif", tensors, {"reset": RESETS[self.reset]}, flags)

    def initial_state(self, batch: int) -> Tensor:
        return self._zeros(batch, self.width)

    def dynamics_cost(self) -> dict[str, int]:
        gain = self.input_gain != 1.0
        return {
            "multiplies": self.width * (1 + gain + (self.reset == "hard")),
            "accumulates": self.width * (1 + (self.reset == "soft")),
        }

    def extra_repr(self) -> str:
        decay = self.decay.detach()
        shown = f"{decay.item():.4g}" if decay.ndim == 0 else f"{decay.min().item():.4g}..{decay.max().item():.4g}"
        return f"{super().extra_repr()}, decay={shown}, threshold={self.threshold}, reset={self.reset!r}"
