"""The two protocols that multivariate forecasts are published under: which windows count, on which scale, and scores.

Long horizons: every series standardised by mean and deviation of the training part; the mean squared and absolute
error over all test windows, steps and series, at horizons 96, 192, 336 and 720. Parts: ETT 12, 4 and 4 months of 30
days, others 70, 10 and 20 %. A forecast may see all that lies before its window. Source: Zhou et al., Informer, arXiv
2012.07436; borders and scores as in github.com/thuml/Time-Series-Library, data_provider/data_loader.py. Some published
tables left out the last incomplete batch of test windows; here every window counts.

SeqSNN: horizons 6, 24, 48 and 96 from a window of 12 or 168 steps; R2 and RSE over all test windows. Source: Lv et al.,
arXiv 2402.01533; windows, scale and scores as in github.com/microsoft/SeqSNN at 903abb4 (dataset/tsforecast.py,
common/function.py, exp/forecast). That protocol scales by numbers of the whole set and splits windows, not steps, so
targets of the last training windows reach into the validation part; both are kept, for comparison's sake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONG_HORIZONS = (96, 192, 336, 720)
SEQSNN_HORIZONS = (6, 24, 48, 96)
ETT_MONTHS = (12, 4, 4)

Array = NDArray[np.float64]
Starts = NDArray[np.int64]
Forecast = Callable[[Starts], Array]  # first steps [n] of windows -> forecasts [n, horizon, series]


@dataclass(frozen=True)
class Split:
    """Scaled values [time, series] and the first steps of the windows to forecast in each part."""

    values: Array
    train: Starts
    validation: Starts
    test: Starts


@dataclass(frozen=True)
class SeqSNN:
    """What SeqSNN's settings files say of one set: steps seen, shares of windows, and the scale.

    scale: "series" divides each series by its largest absolute value, "all" standardises by one mean and deviation.
    """

    window: int
    train: float
    test: float
    scale: str


SEQSNN = {
    "METR-LA": SeqSNN(12, 0.7, 0.1, "series"),
    "PEMS-BAY": SeqSNN(12, 0.7, 0.1, "series"),
    "solar": SeqSNN(168, 0.6, 0.2, "all"),
    "electricity": SeqSNN(168, 0.6, 0.2, "all"),
}


def long_horizon(name: str, values: Array, horizon: int, lookback: int = 0) -> Split:
    """The long-horizon protocol of the set `name` on values [time, series].

    lookback: the fewest steps that lie before a training window; it changes neither validation nor test.
    """
    first, second, end = borders(name, len(values))
    train = values[:first]
    deviation = train.std(axis=0)
    scaled = (values - train.mean(axis=0)) / np.where(deviation == 0, 1, deviation)

    def part(begin: int, stop: int) -> Starts:
        if stop - begin < horizon:
            raise ValueError(f"{name}: expected parts of at least horizon = {horizon} steps, got {stop - begin}")
        return np.arange(begin, stop - horizon + 1)

    return Split(scaled, part(lookback, first), part(first, second), part(second, end))


def borders(name: str, steps: int) -> tuple[int, int, int]:
    """The steps at which training, validation and test parts end."""
    if name.startswith("ETT"):
        day = 24 if name.startswith("ETTh") else 96
        first, second, end = (int(month) * 30 * day for month in np.cumsum(ETT_MONTHS))
        if steps < end:
            raise ValueError(f"{name}: expected at least {end} rows, got {steps}")
        return first, second, end
    first, test = int(steps * 0.7), int(steps * 0.2)
    return first, steps - test, steps


def seqsnn(name: str, values: Array, horizon: int) -> Split:
    """SeqSNN's protocol of the set `name` on values [time, series]: a window i forecasts steps from i + window on."""
    if name not in SEQSNN:
        raise ValueError(f"SeqSNN: expected a set of {', '.join(SEQSNN)}, got {name!r}")
    rules = SEQSNN[name]
    windows = len(values) - rules.window - horizon + 1
    train, test = int(windows * rules.train), int(windows * rules.test)
    if min(train, test) < 1:
        raise ValueError(f"{name}: expected rows for windows of {rules.window} + {horizon} steps, got {len(values)}")
    if rules.scale == "series":
        largest = np.abs(values).max(axis=0)
        scaled = values / np.where(largest == 0, 1, largest)
    else:
        scaled = (values - values.mean()) / (values.std() + np.finfo(float).eps)
    starts = np.arange(windows) + rules.window
    return Split(scaled, starts[:train], starts[train : windows - test], starts[windows - test :])


@dataclass(frozen=True)
class Scores:
    """Over windows w, steps l and series c, pooled:

    mse = mean (y - f)^2                  mae = mean |y - f|
    r2  = 1 - sum (y - f)^2 / sum (y - mean y)^2
    rse = sqrt(sum (y - f)^2 / sum (y - mean_w y)^2)      the mean over windows, for each l and c
    """

    mse: float
    mae: float
    r2: float
    rse: float


def evaluate(forecast: Forecast, values: Array, starts: Starts, horizon: int, batch: int = 256) -> Scores:
    """Scores of `forecast` on the windows of `horizon` steps that begin at `starts`; none is left out.

    Raises ValueError for forecasts of another shape or that are not finite.
    """
    if len(starts) == 0:
        raise ValueError("evaluate: expected at least one window, got none")
    steps = np.arange(horizon)
    centre = np.stack([values[starts + step].mean(axis=0) for step in steps])
    sums = np.zeros(4)
    for first in range(0, len(starts), batch):
        some = starts[first : first + batch]
        truth = values[some[:, None] + steps]
        made = np.asarray(forecast(some), dtype=np.float64)
        if made.shape != truth.shape:
            raise ValueError(f"evaluate: expected forecasts {list(truth.shape)}, got {list(made.shape)}")
        error = truth - made
        sums += [
            np.square(error).sum(), np.abs(error).sum(),
            np.square(truth - centre.mean()).sum(), np.square(truth - centre).sum(),
        ]  # fmt: skip
    if not np.isfinite(sums).all():
        raise ValueError("evaluate: expected finite forecasts, got NaN or infinity")
    squared, absolute, spread, spread_of_windows = sums.tolist()
    count = len(starts) * centre.size
    if spread_of_windows == 0:
        raise ValueError("evaluate: R2 and RSE need targets that vary, got constant ones")
    return Scores(squared / count, absolute / count, 1 - squared / spread, (squared / spread_of_windows) ** 0.5)
