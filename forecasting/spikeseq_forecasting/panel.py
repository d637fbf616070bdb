"""Panels of series, as sktime hands them over, as padded tensors: the border to the models of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Panel(NamedTuple):
    """Series of one panel. values, observed: [instances, time, channels]; lengths: [instances], valid steps each.

    values are float32, zero at padded steps; a value that was missing lies on the line between its observed
    neighbours (at an end: equals the nearest one), and is 0 in a channel without any. observed is bool.
    """

    values: Tensor
    observed: Tensor
    lengths: Tensor

    def rows(self, index: Tensor | slice) -> Panel:
        return Panel(*(part[index] for part in self))


def read_panel(
    X: np.ndarray | Sequence[pd.DataFrame], channels: int | None = None, centre: np.ndarray | float = 0.0
) -> Panel:
    """X: sktime's "numpy3D" [instances, channels, time], or "df-list", one frame [time, channels] an instance.

    Steps at the end of a series at which every channel is missing are taken as past its end. channels: how many are
    expected, None for whatever the first instance has. centre [channels] is taken off in double precision, so that
    small movements far from zero survive in float32. Raises ValueError for an empty panel, another number of
    channels, infinite values and for an instance without any observed value, with its position.
    """
    series = _arrays(X)
    expected = series[0].shape[1] if channels is None else channels
    ready = [_checked(i, one, expected) for i, one in enumerate(series)]
    values = [torch.from_numpy((_filled(one, centre) - centre).astype(np.float32)) for one in ready]
    observed = [torch.from_numpy(~np.isnan(one)) for one in ready]
    lengths = torch.tensor([len(one) for one in ready])
    return Panel(pad_sequence(values, batch_first=True), pad_sequence(observed, batch_first=True), lengths)


def channel_means(X: np.ndarray | Sequence[pd.DataFrame]) -> np.ndarray:
    """Mean of the finite values of each channel, [channels]; 0 for a channel without any."""
    steps = np.concatenate(_arrays(X))
    known = np.isfinite(steps)
    return np.where(known, steps, 0.0).sum(0) / np.maximum(known.sum(0), 1)


def _arrays(X: np.ndarray | Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """Each instance as float64 [time, channels]."""
    if not len(X):
        raise ValueError("X: expected at least one instance, got an empty panel")
    return [np.asarray(one, dtype=np.float64) for one in (X.transpose(0, 2, 1) if isinstance(X, np.ndarray) else X)]


def _checked(i: int, series: np.ndarray, channels: int) -> np.ndarray:
    """The series up to its last observed step."""
    if series.shape[1] != channels:
        raise ValueError(f"X: expected {channels} channels in each instance, got {series.shape[1]} in instance {i}")
    if np.isinf(series).any():
        raise ValueError(f"X: expected finite or missing (NaN) values, got an infinite one in instance {i}")
    steps = np.flatnonzero(~np.isnan(series).all(1))
    if not len(steps):
        raise ValueError(f"X: expected at least one observed value in each instance, got none in instance {i}")
    return series[: steps[-1] + 1]


def _filled(series: np.ndarray, centre: np.ndarray | float) -> np.ndarray:
    missing = np.isnan(series)
    if not missing.any():
        return series
    filled, steps = series.copy(), np.arange(len(series))
    for channel in np.flatnonzero(missing.any(0)):
        known = steps[~missing[:, channel]]
        if len(known):
            filled[:, channel] = np.interp(steps, known, series[known, channel])
        else:
            filled[:, channel] = np.broadcast_to(centre, series.shape[1])[channel]
    return filled
