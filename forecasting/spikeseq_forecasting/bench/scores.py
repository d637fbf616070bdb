"""Scores of forecasts of several series in one window."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

Array = NDArray[np.float64]


def mase(truth: Array, forecast: Array, history: Iterable[pd.Series], season: int) -> float:
    """Mean over series of mean |y - f| / mean |y_t - y_{t-season}|, the latter over the series' history.

    truth, forecast: [series, horizon]. Source: Hyndman and Koehler, 2006, with a seasonal naive scale.
    """
    scale = [np.abs(values.to_numpy(float)[season:] - values.to_numpy(float)[:-season]).mean() for values in history]
    return float((np.abs(truth - forecast).mean(axis=1) / scale).mean())


def pinball(truth: Array, quantiles: Array) -> Array:
    """2 * pinball loss summed over series and steps, for each of LEVELS: quantiles [series, horizon, levels]."""
    error, levels = truth[..., None] - quantiles, np.array(LEVELS)
    return 2 * np.maximum(levels * error, (levels - 1) * error).sum(axis=(0, 1))


def weighted_quantile_loss(losses: Iterable[Array], truths: Iterable[Array]) -> float:
    """Mean over LEVELS of the summed `pinball` of all windows / sum |y|. Of a point forecast: sum |y - f| / sum |y|."""
    return float(np.mean(sum(losses)) / sum(np.abs(truth).sum() for truth in truths))
