"""Light augmentation of batches of event frames [batch, time, channels, height, width], one draw a sample."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(frames: Tensor, share: float = 0.5) -> Tensor:
    """Each sample mirrored left to right with probability `share`. Draws from torch's random state."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a probability, got {share}")
    mirrored = torch.rand(len(frames), device=frames.device) < share
    return torch.where(mirrored[:, None, None, None, None], frames.flip(-1), frames)


def roll(frames: Tensor, most: int) -> Tensor:
    """Each sample moved by up to `most` pixels down or up and right or left; what leaves enters on the other side."""
    if most < 0:
        raise ValueError(f"most: expected at least 0 pixels, got {most}")
    down, right = torch.randint(-most, most + 1, (2, len(frames)), device=frames.device)
    height, width = frames.shape[-2:]
    rows = (torch.arange(height, device=frames.device) - down[:, None]) % height
    columns = (torch.arange(width, device=frames.device) - right[:, None]) % width
    sample = torch.arange(len(frames), device=frames.device)[:, None, None]
    return frames.permute(0, 3, 4, 1, 2)[sample, rows[:, :, None], columns[:, None]].permute(0, 3, 4, 1, 2)
