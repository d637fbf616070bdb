"""Dropout whose random bits do not cost more than the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 1 << 16  # the drop rate is met to 1/65,536


class Dropout(nn.Dropout):
    """`nn.Dropout`, `y = x * keep / (1 - p)`, from 16 random bits a value on a CPU.

    There torch draws a double for each value, which took a quarter of a training step of sequential MNIST; cutting
    every 64-bit draw in four takes an eighth of that time. Elsewhere this is `nn.Dropout`. Seeded by torch's generator.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return input
        if self.p in (0.0, 1.0) or self.inplace or input.device.type != "cpu":
            return super().forward(input)
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        keep = bits >= round(self.p * STEPS) - STEPS // 2
        return input * keep.to(input.dtype).mul_(1 / (1 - self.p))
