"""Which steps of a padded batch are real: the one place that turns `lengths` into masks and indices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Padding:
    """Valid lengths of a batch whose rows end early; masks and indices are made once and shared by all layers.

    `lengths` [batch] int64, each in 1..time; `time` is the padded length.
    """

    lengths: Tensor
    time: int

    @cached_property
    def mask(self) -> Tensor:
        """[batch, time], True at valid steps."""
        return torch.arange(self.time, device=self.lengths.device) < self.lengths[:, None]

    @cached_property
    def valid(self) -> Tensor:
        """Indices of the valid steps in the flattened [batch * time]."""
        return self.mask.flatten().nonzero().squeeze(1)

    @cached_property
    def reversal(self) -> Tensor:
        """Indices in the flattened [batch * time] that reverse the valid part of each row; padding stays put."""
        step = torch.arange(self.time, device=self.lengths.device)
        source = torch.where(self.mask, self.lengths[:, None] - 1 - step, step)
        row = torch.arange(len(self.lengths), device=self.lengths.device)[:, None]
        return (row * self.time + source).flatten()


def as_padding(lengths: Tensor | Padding | None, batch: int, time: int) -> Padding | None:
    """`lengths` [batch], checked, as a `Padding`; None stays None (nothing is padded), a `Padding` is reused.

    Raises TypeError for lengths that are not integers, ValueError for another shape or a length outside 1..time.
    """
    if lengths is None:
        return None
    if isinstance(lengths, Padding):
        if (len(lengths.lengths), lengths.time) != (batch, time):
            raise ValueError(
                f"lengths: expected a Padding of batch {batch} and time {time}, got one of batch "
                f"{len(lengths.lengths)} and time {lengths.time}"
            )
        return lengths
    if not isinstance(lengths, Tensor) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        came = str(lengths.dtype) if isinstance(lengths, Tensor) else type(lengths).__name__
        raise TypeError(f"lengths: expected an integer tensor [batch], got {came}")
    if lengths.shape != (batch,):
        raise ValueError(f"lengths: expected shape [{batch}] (one per sequence), got {list(lengths.shape)}")
    wrong = (lengths < 1) | (lengths > time)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(f"lengths: expected 1..{time} (the padded time), got {int(lengths[row])} in row {row}")
    return Padding(lengths.long(), time)


def reverse_time(x: Tensor, padding: Padding | None) -> Tensor:
    """`x` [batch, time, ...] with the valid part of each row reversed in time; its own inverse."""
    if padding is None:
        return x.flip(1)
    return x.flatten(0, 1).index_select(0, padding.reversal).view_as(x)


def reverse_starts(starts: Tensor, padding: Padding | None) -> Tensor:
    """Episode starts [batch, time] as the reversed sequence sees them: an episode's last step comes first there."""
    last = torch.cat((starts[:, 1:], torch.zeros_like(starts[:, :1])), dim=1)
    return reverse_time(last, padding)
