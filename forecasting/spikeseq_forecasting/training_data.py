"""Batches of crops of series for training the series models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .series_model import SeriesModel


@dataclass(frozen=True)
class Block:
    """Rows of series on one time axis. values [rows, time], NaN where missing, divided by unit [rows]; calendar
    [rows, time, calendar]; exogenous [rows, time, exogenous]."""

    values: Tensor
    unit: Tensor
    calendar: Tensor
    exogenous: Tensor


class Crops:
    """Batches of crops, `size` steps each, with the targets of up to `loss_steps` of their steps.

    Training (`held_out=False`): crops at random places, or the whole where it is no longer than `size`, with the
    targets before `cut`. Validation: the end of each row with the targets from `cut` on.
    """

    def __init__(
        self, model: SeriesModel, block: Block, cut: int, size: int, batch: int, loss_steps: int, held_out: bool = False
    ) -> None:
        self.model, self.block, self.cut, self.batch, self.held_out = model, block, cut, batch, held_out
        self.loss_steps = loss_steps
        rows, time = block.values.shape
        self.last = (time if held_out else cut) - 1  # steps with a target: the last one has none
        self.size = min(size, self.last)
        with torch.no_grad():
            self.seen = model.look(block.values)
        self.batches = math.ceil(rows * (1 if held_out else math.ceil(self.last / self.size)) / batch)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows, count = len(self.block.values), self.batches
        spread = max(1, math.ceil(self.last / self.size))
        order = torch.arange(rows) if self.held_out else torch.randperm(rows * spread) % rows
        for picked in order.chunk(count):
            starts = torch.full_like(picked, self.last - self.size)
            if not self.held_out:
                starts = torch.randint(self.last - self.size + 1, picked.shape)
            yield self._batch(picked, starts)

    def _batch(self, rows: Tensor, starts: Tensor) -> dict[str, Any]:
        model, block, horizon = self.model, self.block, self.model.framing.horizon
        steps = starts[:, None] + torch.arange(self.size)
        seen = self.seen.at(rows, steps)
        calendar, exogenous = block.calendar[rows], block.exogenous[rows]
        every = torch.arange(len(rows))[:, None]
        x = model.inputs(seen, calendar[every, steps], exogenous[every, steps])
        chosen = torch.arange(self.size)
        if not self.held_out and self.size > self.loss_steps:
            chosen = torch.randperm(self.size)[: self.loss_steps].sort().values
        at = steps[:, chosen]
        then = at[..., None] + torch.arange(1, horizon + 1)
        inside = then.clamp(max=block.values.shape[1] - 1)
        target = block.values[rows[:, None, None], inside]
        edge = block.values.shape[1] if self.held_out else self.cut
        wanted = ~target.isnan() & (then < edge) & self._warm(seen.age[:, chosen], rows)[..., None]
        if self.held_out:
            wanted &= then >= self.cut
        known = None
        if model.calendar + model.exogenous:
            pad = (0, 0, 0, horizon)
            padded = (torch.nn.functional.pad(part, pad) for part in (calendar, exogenous))
            known = model.known(at, *padded)
        return {
            "x": x,
            "starts": seen.age == 1,
            "chosen": chosen,
            "seen": tuple(part[:, chosen] for part in seen),
            "known": known,
            "target": target.nan_to_num(0.0),
            "wanted": wanted,
            "unit": block.unit[rows],
        }

    def _warm(self, age: Tensor, rows: Tensor) -> Tensor:
        """Steps whose window is full; of a short series, those of its second half."""
        length = self.seen.age[rows, self.last]
        return age > torch.minimum(torch.full_like(length, self.model.framing.window - 1), length // 2)[:, None]


class Batches:
    """The batches of each member's crops, side by side."""

    def __init__(self, crops: Sequence[Crops]) -> None:
        self.crops = crops

    def __len__(self) -> int:
        return len(self.crops[0])

    def __iter__(self) -> Iterator[tuple[dict[str, Any], ...]]:
        return zip(*self.crops, strict=True)
