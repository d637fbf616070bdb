"""A diagonal state-space layer by FFT convolution, in a neuron's place: what a spiking backbone is measured beside."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeseq.neurons import Neuron


class S4D(Neuron):
    """S4D (arXiv 2206.11893): `order / 2` complex states a channel, each half of a conjugate pair; dense outputs.

        z'(t) = A z(t) + x(t);   u = 2 Re(C z) + D x;   y = gelu(u)

    held over steps of dt, `A = -exp(log_rate) + i angle`, started as S4D-Lin: -1/2 + i pi n. The convolution is done
    by a zero-padded FFT, its kernel by products of powers. x: [batch, time, width]. It is here to be trained on whole
    sequences and has no serial form: state, starts and step are errors. log_dt: [width]; the others [width, order / 2],
    but skip (D): [width].
    """

    def __init__(self, width: int, order: int = 64, dt_min: float = 1e-3, dt_max: float = 1e-1) -> None:
        super().__init__(width, output="membrane")
        half = order // 2
        self.log_dt = nn.Parameter(torch.empty(width).uniform_(math.log(dt_min), math.log(dt_max)))
        self.log_rate = nn.Parameter(torch.full((width, half), math.log(0.5)))
        self.angle = nn.Parameter(math.pi * torch.arange(float(half)).repeat(width, 1))
        self.out = nn.Parameter(torch.randn(width, half, 2) * 0.5**0.5)  # C, real and imaginary part
        self.skip = nn.Parameter(torch.randn(width))

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """dt A, whose exponential turns a state by one step, and what a state gives to u: C (exp(dt A) - 1) / A."""
        rate = torch.complex(-self.log_rate.exp(), self.angle)
        power = rate * self.log_dt.exp().unsqueeze(-1)
        return power, torch.view_as_complex(self.out) * torch.expm1(power) / rate

    def kernel(self, time: int) -> Tensor:
        """`k_t = 2 Re sum_n c_n exp(power_n t)`, [width, time]: t = i * length + j, so one product of two short rows of
        powers gives all of them."""
        power, gain = self.coefficients()
        length = math.isqrt(time - 1) + 1
        steps = torch.arange(length, device=power.device)
        coarse = torch.exp(power.unsqueeze(-1) * (steps * length)) * gain.unsqueeze(-1)
        fine = torch.exp(power.unsqueeze(-1) * steps)
        return 2 * (coarse.transpose(1, 2) @ fine).real.flatten(1)[:, :time]

    def forward(self, x: Tensor, state: None = None, starts: Tensor | None = None) -> tuple[Tensor, None]:
        self._check_input(x)
        if state is not None or starts is not None:
            raise ValueError("S4D convolves whole sequences: it takes no state and no starts")
        time = x.shape[1]
        columns = x.transpose(1, 2).contiguous()  # much faster than transforms across rows
        spectrum = torch.fft.rfft(columns, n=2 * time) * torch.fft.rfft(self.kernel(time), n=2 * time)
        u = torch.fft.irfft(spectrum, n=2 * time)[..., :time] + columns * self.skip.unsqueeze(-1)
        return F.gelu(u).transpose(1, 2), None

    def step(self, x_t: Tensor, state: None = None) -> tuple[Tensor, None]:  # noqa: ARG002
        raise TypeError("S4D is here to be trained on whole sequences: it has no step")

    def initial_state(self, batch: int) -> None:  # noqa: ARG002
        raise TypeError("S4D is here to be trained on whole sequences: it has no state")

    def dynamics_cost(self) -> dict[str, int]:
        """Of the recurrence that the convolution stands for: A z, + x, Re(C z); D x. The gelu is not counted."""
        states = self.angle.numel()
        return {"multiplies": 6 * states + self.width, "accumulates": 5 * states + self.width}
