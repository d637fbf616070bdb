"""Light augmentation of batches, one draw a sample, from torch's random state."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(maps: Tensor, share: float = 0.5) -> Tensor:
    """Each sample of [batch, ..., height, width] mirrored left to right with probability `share`."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a probability, got {share}")
    mirrored = torch.rand(len(maps), device=maps.device) < share
    return torch.where(mirrored.view(-1, *(1,) * (maps.ndim - 1)), maps.flip(-1), maps)


def roll(maps: Tensor, most: int, axes: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Each sample of [batch, ...] moved by up to `most` places along each of `axes`; what leaves enters at the other
    end. The default axes are height and width, of frames and images.
    """
    if most < 0:
        raise ValueError(f"most: expected at least 0 pixels, got {most}")
    sample = torch.arange(len(maps), device=maps.device)[:, None]
    for axis in axes:
        size = maps.shape[axis]
        moves = torch.randint(-most, most + 1, (len(maps), 1), device=maps.device)
        places = (torch.arange(size, device=maps.device) - moves) % size
        maps = maps.movedim(axis, 1)[sample, places].movedim(1, axis)
    return maps
