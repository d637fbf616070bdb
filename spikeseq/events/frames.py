"""Events to dense tensors over time: frames and voxel grids."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .recording import Recording

SLICES = ("time", "count")


def event_frames(events: Recording, steps: int, by: str = "time") -> Tensor:
    """The number of events at each pixel, float32 [steps, 2, height, width]; channel 0 OFF, channel 1 ON.

    by: "time" cuts the recording into `steps` spans of equal length, "count" into spans of equally many events (up
    to one). A recording without events gives zeros.
    """
    _positive("steps", steps)
    if by not in SLICES:
        raise ValueError(f"by: expected one of {', '.join(SLICES)}, got {by!r}")
    if by == "time":
        step = _position(events, steps).astype(np.int64).clip(max=steps - 1)
    else:
        step = np.arange(len(events)) * steps // max(len(events), 1)
    height, width = events.size
    pixel = ((step * 2 + events.p) * height + events.y) * width + events.x
    counts = np.bincount(pixel, minlength=steps * 2 * height * width)
    return torch.from_numpy(counts.astype(np.float32)).view(steps, 2, height, width)


def voxel_grid(events: Recording, bins: int) -> Tensor:
    """Polarity (+1, -1) spread over the two nearest of `bins` points in time, float32 [bins, height, width].

        V[b, y, x] = sum_i p_i max(0, 1 - |b - (bins - 1) (t_i - t_first) / (t_last - t_first)|)

    Source: Zhu et al., "Unsupervised event-based learning of optical flow, depth and egomotion", arXiv 1812.08156.
    """
    _positive("bins", bins)
    position = _position(events, bins - 1)
    lower = np.floor(position).astype(np.int64)
    height, width = events.size
    grid = np.zeros(bins * height * width)
    for nearest, share in ((lower, 1 - (position - lower)), (lower + 1, position - lower)):
        pixel = (nearest.clip(max=bins - 1) * height + events.y) * width + events.x
        grid += np.bincount(pixel, np.where(events.p, share, -share), len(grid))
    return torch.from_numpy(grid.astype(np.float32)).view(bins, height, width)


def _position(events: Recording, scale: int) -> np.ndarray:
    """Where each event lies between the first, 0, and the last, `scale`."""
    if not len(events):
        return np.zeros(0)
    since = events.t - events.t[0]
    return since * (scale / max(int(since[-1]), 1))


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
