"""Maps in memory, images and event frames, of which each training batch may be moved and mirrored afresh."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from ..events import flip, roll
from .memory import Batch, ByteSequences


@dataclass(frozen=True)
class Maps(ByteSequences):
    """rolled: batches are moved by up to so many places along the axes `moved`; flipped: half of them are mirrored."""

    axes: ClassVar[str] = "items, channels, height, width"
    moved: ClassVar[tuple[int, ...]] = (-2, -1)
    rolled: int = 0
    flipped: bool = False

    def __getitems__(self, indices: list[int]) -> Batch:
        x, y = super().__getitems__(indices)
        if self.rolled:
            x = roll(x, self.rolled, self.moved)
        return flip(x) if self.flipped else x, y

    def varied(self, rolled: int, flipped: bool = False) -> Maps:
        return replace(self, rolled=rolled, flipped=flipped)


@dataclass(frozen=True)
class EventFrames(Maps):
    """Event counts uint8 [items, time, 2, height, width]."""

    axes: ClassVar[str] = "items, time, 2, height, width"


@dataclass(frozen=True)
class VoxelGrids(Maps):
    """Polarity spread over time, float16 [items, time, 1, height, width]."""

    axes: ClassVar[str] = "items, time, 1, height, width"
    dtype: ClassVar[torch.dtype] = torch.float16


@dataclass(frozen=True)
class SpikeCounts(Maps):
    """Spikes of a row of channels, uint8 [items, time, channels]; these move along the channels alone."""

    axes: ClassVar[str] = "items, time, channels"
    moved: ClassVar[tuple[int, ...]] = (-1,)
