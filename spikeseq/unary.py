"""Integer networks run as unary spikes, which is how a machine of spikes runs them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from .tracing import trace


class UnaryProduct(nn.Module):
    """A Linear or a convolution that sees one binary spike at a time.

        y = sum_{d = 1..N} (scale W) s_d + b,   s_d = 1 where x / scale >= d, else 0       equal to W x + b

    The bias is added once, not N times. x: scale * {0, 1, 2, ...}, N is the largest that occurs; anything else is a
    ValueError. scale is 1 for spikes, 1 / 4 for their means over four pixels.
    """

    def __init__(self, layer: nn.Linear | _ConvNd, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.first = copy.deepcopy(layer)
        with torch.no_grad():
            self.first.weight.mul_(scale)
        self.others = copy.deepcopy(self.first)
        self.others.weight = self.first.weight
        self.others.register_parameter("bias", None)

    def forward(self, input: Tensor, *args: Any) -> Tensor:
        spikes = (input / self.scale).round()
        if bool((spikes < 0).any()) or not torch.allclose(spikes * self.scale, input, rtol=0, atol=1e-5 * self.scale):
            raise ValueError(f"UnaryProduct: expected {self.scale:g} times 0, 1, 2, ..., got other values")
        y = self.first((spikes >= 1).to(input.dtype), *args)
        for d in range(2, int(spikes.max()) + 1):
            y = y + self.others((spikes >= d).to(input.dtype), *args)
        return y

    def extra_repr(self) -> str:
        return f"scale={self.scale:g}"


def unary(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor | None]) -> nn.Module:
    """An inference copy of `model` with the same outputs, up to rounding, whose layers see unary spikes.

    Every Linear and convolution whose input held integers above 1 on `batch`, x or (x, lengths), becomes a
    `UnaryProduct`; the encoder, layers with float inputs and the attention between spikes stay as they are. Take a
    batch that makes the neurons fire: later inputs that a layer was not prepared for are a ValueError.
    """
    copied = copy.deepcopy(model).eval().requires_grad_(False)
    for event in trace(copied, batch).events:
        layer = copied.get_submodule(event.name)
        if not isinstance(layer, nn.Linear | _ConvNd) or event.part == "encoder" or event.values is None:
            continue
        if event.values.kind == "integer" and not event.dynamics:
            owner, _, name = event.name.rpartition(".")
            setattr(copied.get_submodule(owner), name, UnaryProduct(layer, event.values.scale))
    return copied
