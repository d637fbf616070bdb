"""The parallel spiking neurons of arXiv 2304.12760: the peers that DSN is measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import ops
from ..ops import Surrogate, checks
from ..ops.native.buffers import fire_flags
from ..ops.native.step import StepPlan, plain_rows, row
from .base import Neuron, State


class PSN(Neuron):
    """Parallel spiking neuron: one dense product over time, `u = W x`, `s = H(u - B)`.

    W: [steps, steps], kaiming uniform (a = sqrt 5); B: [steps], starts at 1, both trained. It sees the future and
    works at one length only, so it has no serial form: `step`, `state` and `starts` are errors.
    """

    causal = False

    def __init__(
        self, width: int, steps: int, *, levels: int | None = None, surrogate: Surrogate | str | None = None,
        output: str = "spikes",
    ) -> None:  # fmt: skip
        super().__init__(width, levels=levels, surrogate=surrogate, output=output)
        if steps < 1:
            raise ValueError(f"{type(self).__name__}: expected steps >= 1, got {steps}")
        self.steps = steps
        self.weight = nn.Parameter(torch.empty(steps, steps))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.threshold = nn.Parameter(torch.ones(steps))

    def mixing(self) -> Tensor:
        """The [steps, steps] matrix over time."""
        return self.weight

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        name = type(self).__name__
        self._check_input(x)
        if state is not None or starts is not None:
            raise ValueError(f"{name} mixes all {self.steps} steps at once: it takes no state and no starts")
        if x.shape[1] != self.steps:
            raise ValueError(f"{name}: expected {self.steps} steps, got {x.shape[1]}; its weights fix the length")
        checks.finite(name, "x", x)
        # in one dtype, that of the state elsewhere; autocast would quietly make it a bfloat16 product
        dtype = checks.compute_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            # one product over the batch laid side by side; a batched one would make a gradient of W for each sequence
            membrane = (self.mixing().to(dtype) @ x.to(dtype).transpose(0, 1).flatten(1)).view(
                self.steps, x.shape[0], self.width
            )
            membrane = membrane.transpose(0, 1)
        if self.output == "spikes":
            membrane = ops.spike(membrane, self.threshold.to(dtype).unsqueeze(-1), self.surrogate)
        return membrane.to(x.dtype), None

    def step(self, x_t: Tensor, state: State = None) -> tuple[Tensor, State]:
        raise TypeError(f"{type(self).__name__} has no serial form: each step needs all {self.steps} inputs")

    def initial_state(self, batch: int) -> State:
        raise TypeError(f"{type(self).__name__} has no serial form, so it has no state")

    def dynamics_cost(self) -> dict[str, int]:
        """Products of the average row of the matrix, a step."""
        products = self.width * int(torch.count_nonzero(self.mixing()).item()) // self.steps
        return {"multiplies": products, "accumulates": products + self.width}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, steps={self.steps}"


class MaskedPSN(PSN):
    """PSN whose matrix is pressed into a band: step i sees inputs i-order+1..i once `masking` has reached 1.

        u = (W * (masking * mask + 1 - masking)) x,   mask[i, j] = 1 where j <= i <= j + order - 1

    `masking` runs from 0 to 1 during training (set it with `set_masking`); it starts at 1.
    """

    mask: Tensor
    masking: Tensor

    def __init__(
        self, width: int, steps: int, order: int, *, levels: int | None = None,
        surrogate: Surrogate | str | None = None, output: str = "spikes",
    ) -> None:  # fmt: skip
        super().__init__(width, steps, levels=levels, surrogate=surrogate, output=output)
        if not 1 <= order <= steps:
            raise ValueError(f"MaskedPSN: expected order in 1..{steps}, got {order}")
        self.order = order
        ones = torch.ones(steps, steps)
        self.register_buffer("mask", torch.tril(ones) * torch.triu(ones, 1 - order), persistent=False)
        self.register_buffer("masking", torch.tensor(1.0))

    def set_masking(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"MaskedPSN: expected masking in [0, 1], got {value}")
        self.masking.fill_(value)

    def mixing(self) -> Tensor:
        return self.weight * (self.masking * self.mask + (1 - self.masking))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, order={self.order}"


class SlidingPSN(Neuron):
    """Sliding PSN of order k: the same k weights at every step, causal, with a serial form.

        u_t = sum_{i<k} weight[i] x_{t-k+1+i};   s_t = H(u_t - threshold)

    weight: [order], starts at (..., 1/4, 1/2, 1), the last one for the present step; threshold: a trained scalar,
    starts at 1. State: the last k - 1 inputs, [batch, order - 1, width].
    """

    def __init__(
        self, width: int, order: int = 4, *, levels: int | None = None, surrogate: Surrogate | str | None = None,
        output: str = "spikes",
    ) -> None:  # fmt: skip
        super().__init__(width, levels=levels, surrogate=surrogate, output=output)
        if order < 1:
            raise ValueError(f"SlidingPSN: expected order >= 1, got {order}")
        self.order = order
        self.weight = nn.Parameter(0.5 ** torch.arange(order - 1, -1, -1.0))
        self.threshold = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        self._check_input(x)
        weight = self.weight.flip(0).expand(self.width, self.order)
        membrane, state = ops.sliding(self._widened(x), weight, None, state, starts)
        out = ops.spike(membrane, self.threshold, self.surrogate) if self.output == "spikes" else membrane
        return out.to(x.dtype), state

    def _step_settings(self) -> tuple:
        return (self.surrogate, self.output)

    def _step_plan(self) -> StepPlan:
        weight = self.weight.flip(0)[:, None].expand(-1, self.width)
        tensors = {"weight": weight, "bias": row(0.0, self.width), "threshold": self.threshold.expand(self.width)}
        return StepPlan("sliding", tensors, {"lags": self.order}, fire_flags(self.surrogate, False, self.output))

    def _plain_state(self, state: State, batch: int) -> bool:
        return plain_rows(state, (batch, self.order - 1, self.width))

    def initial_state(self, batch: int) -> Tensor:
        return self._zeros(batch, self.order - 1, self.width)

    def dynamics_cost(self) -> dict[str, int]:
        return {"multiplies": self.order * self.width, "accumulates": self.order * self.width}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, order={self.order}"
