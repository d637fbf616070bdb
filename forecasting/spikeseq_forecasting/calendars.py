"""What an index of time stamps tells: the season, how far to look back, and the phases of day, week and year."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
import pandas as pd

DAY, WEEK, YEAR = 1.0, 7.0, 365.2425  # in days
# season in steps for a spacing of up to so many days
SEASONS = ((1.5, 7), (8.0, 52), (15.0, 26), (32.0, 12), (93.0, 4))
HARMONICS = {DAY: 2, WEEK: 3, YEAR: 2}
NON_SEASONAL_LAGS = 24
LONGEST_LAGS = 400


def in_days(times: pd.Index) -> np.ndarray | None:
    """Time stamps as days since 1970; None for an index that is not of dates."""
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if not isinstance(times, pd.DatetimeIndex):
        return None
    return times.to_numpy("datetime64[ns]").astype(np.int64) / (24 * 3600 * 1e9)


def spacing(times: pd.Index) -> float | None:
    """Median step in days; None where it is unknown: no dates, or a single one without a frequency."""
    days = in_days(times)
    if days is None:
        return None
    if len(days) > 1:
        return float(np.median(np.diff(days)))
    if getattr(times, "freq", None) is None:
        return None
    return spacing(times.append(times + times.freq))  # pyright: ignore[reportAttributeAccessIssue]


def season_of(times: pd.Index) -> int:
    """Steps a season: a day of less than daily steps, a week of days, a year of weeks, months and quarters, else 1.

    Business days have 5 a week. An index without dates, or with one step only, says nothing: 1.
    """
    step = spacing(times)
    if step is None or step <= 0:
        return 1
    if step < 0.9:
        return round(DAY / step)
    if step < 1.5 and "B" in str(getattr(times, "freqstr", "")):
        return 5
    return next((season for limit, season in SEASONS if step <= limit), 1)


def check_steps(name: str, value: object) -> None:
    """Raises TypeError for what is no whole number and ValueError for one below 1; None passes."""
    if value is None:
        return
    if not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a whole number of steps or None, got {value!r}")
    if value < 1:
        raise ValueError(f"{name}: expected at least 1 step or None, got {value}")


def sizes(times: pd.Index, season: int | None = None, lags: int | None = None) -> tuple[int, int]:
    """Season and lags, in steps, that the series allow; None: by the index, and as many lags as serve the season.

    A season that does not fit into the series becomes 1, with a warning; the lags are at most a third of the series.
    """
    for name, value in (("season", season), ("lags", lags)):
        check_steps(name, value)
    season, steps = season_of(times) if season is None else season, len(times)
    if season >= steps:
        warnings.warn(
            f"SpikingForecaster: a season of {season} steps does not fit into {steps}; the last value is used",
            stacklevel=2,
        )
        season = 1
    if lags is None:
        week = (spacing(times) or DAY) < 0.9 * DAY and season * 7 < LONGEST_LAGS
        lags = 7 * season + 1 if week else 2 * season + 1 if season > 1 else NON_SEASONAL_LAGS
    return season, max(1, min(lags, steps // 3))


def cycles_of(times: pd.Index) -> tuple[float, ...]:
    """Which of day, week and year the steps resolve and the series has seen twice, in days."""
    step, days = spacing(times), in_days(times)
    if step is None or days is None:
        return ()
    return tuple(cycle for cycle in (DAY, WEEK, YEAR) if step <= cycle / 2.5 and np.ptp(days) >= 2 * cycle)


def calendar(times: pd.Index, cycles: tuple[float, ...]) -> np.ndarray:
    """Sines and cosines of the phases, [time, features], float32."""
    days = in_days(times)
    if days is None or not cycles:
        return np.zeros((len(times), 0), np.float32)
    turns = [k * days / cycle for cycle in cycles for k in range(1, HARMONICS[cycle] + 1)]
    angles = 2 * np.pi * np.stack(turns, 1)
    return np.concatenate((np.sin(angles), np.cos(angles)), 1).astype(np.float32)
