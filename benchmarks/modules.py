"""The bare operations as modules: `(output, state) = module(x)`, like a neuron, with parameters to train."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, logsigmoid, pad

from benchmarks import peers
from spikeseq import ops


class Scan(nn.Module):
    """`linear_scan` with one trained decay a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.empty(width).uniform_(0.8, 0.99))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.linear_scan(x, self.decay)


class ComplexScan(nn.Module):
    """`linear_scan` of a real x with one trained complex decay a channel: complex states."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.empty(width).uniform_(0.01, 0.2))
        self.angle = nn.Parameter(torch.empty(width).uniform_(0.0, 0.5))

    def decay(self) -> Tensor:
        return torch.polar(torch.exp(-self.rate), self.angle)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.linear_scan(x, self.decay())


class S5Scan(ComplexScan):
    """The same by the parallel scan of s5-pytorch."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states = peers.s5_scan(x, self.decay())
        return states, states[:, -1]


class Gated(nn.Module):
    """`dsn` whose gate is given and has a gradient: [batch, time, width], as large as the input."""

    def __init__(self, batch: int, time: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.randn(batch, time, width))
        self.output = "spikes"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.dsn(x, self.gate, output=self.output)


class Sliding(nn.Module):
    """`sliding` over the last `order` inputs."""

    def __init__(self, width: int, order: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, order).uniform_(-0.5, 0.5))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.sliding(x, self.weight, self.bias)


def causal(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Causal depthwise convolution of x [batch, time, width] with torch's conv1d. weight: [width, k], lag 0 first."""
    width, order = weight.shape
    columns = pad(x.transpose(1, 2), (order - 1, 0))
    return conv1d(columns, weight.flip(1).unsqueeze(1), bias, groups=width).transpose(1, 2)


class SlidingConv1d(Sliding):
    """The same through conv1d, the form that plain torch offers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return causal(x, self.weight, self.bias), x[:, :0]


class PSNConv1d(nn.Module):
    """Sliding PSN through conv1d and `spike`; weights start as in `spikeseq.SlidingPSN`."""

    def __init__(self, width: int, order: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.5 ** torch.arange(0.0, order))
        self.threshold = nn.Parameter(torch.tensor(1.0))
        self.width = width
        self.output = "spikes"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        membrane = causal(x, self.weight.expand(self.width, -1))
        return (ops.spike(membrane, self.threshold) if self.output == "spikes" else membrane), x[:, :0]


class Varying(nn.Module):
    """`linear_scan` whose decay is given at each step and has a gradient, as large as the input."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.rand(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.linear_scan(x, self.decay)


class HGRN(nn.Module):
    """`Varying` by flash-linear-attention, which takes the decay's logarithm. form: "chunk" or "fused_recurrent"."""

    def __init__(self, shape: tuple[int, int, int], form: str) -> None:
        super().__init__()
        self.gate = nn.Parameter(logsigmoid(torch.randn(shape)))
        self.scan: Any = getattr(import_module("fla.ops.hgrn"), f"{form}_hgrn")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.scan(x, self.gate)
