"""The time axis: every step from the first time stamp to the last, also where there is no row, a missing value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

SPARSEST = 100  # steps for each time stamp that there is


def whole(times: pd.Index, freq: pd.offsets.BaseOffset | None = None) -> pd.Index:
    """All steps from the first to the last of `times`, which are in order; dates with their frequency.

    Periods go by their frequency and whole numbers one by one; dates by `freq`, by default what `frequency_of` finds.
    Raises ValueError for time stamps between the steps.
    """
    if not len(times):
        return times
    if isinstance(times, pd.PeriodIndex):
        return pd.period_range(times[0], times[-1], freq=times.freq, name=times.name)
    if pd.api.types.is_integer_dtype(times.dtype):
        if times[-1] - times[0] >= SPARSEST * len(times):
            raise ValueError(
                "y: expected whole numbers that count the steps one by one, with some of them missing, got "
                f"{len(times)} from {times[0]} to {times[-1]}; give y an index of dates, or y.reset_index(drop=True)"
            )
        return pd.RangeIndex(times[0], times[-1] + 1, name=times.name)
    if not isinstance(times, pd.DatetimeIndex):
        return times
    steps = pd.date_range(times[0], times[-1], freq=frequency_of(times) if freq is None else freq, name=times.name)
    off = ~times.isin(steps)
    if off.any():
        raise ValueError(f"y: expected time stamps of frequency {steps.freqstr}, as in fit, got {times[off][0]}")
    return steps


def after(newest: pd.Index, times: pd.Index) -> pd.Index:
    """All steps after the one of `newest`, which knows its frequency, up to the last of `times`."""
    times = times[times > newest[0]]
    if len(times) and pd.api.types.is_integer_dtype(times.dtype):  # however far they are
        return pd.RangeIndex(newest[0] + 1, times[-1] + 1)
    return whole(newest.append(times), getattr(newest, "freq", None))[1:] if len(times) else times


def frequency_of(times: pd.DatetimeIndex) -> pd.offsets.BaseOffset:
    """The frequency that dates have, or that pandas infers, or, where some steps are missing, the coarsest of those
    on which all of them lie: the commonest spacing, weeks, business days, and the commonest number of months.

    Raises ValueError where there is none.
    """
    if times.freq is not None:
        return times.freq
    inferred = pd.infer_freq(times) if len(times) > 2 else None
    if inferred is not None:
        return to_offset(inferred)
    found = [steps for steps in (_steps(times, freq) for freq in _candidates(times)) if times.isin(steps).all()]
    if not found:
        raise ValueError(
            "y: expected time stamps with a frequency, or at one spacing with some of them missing, got "
            f"{len(times)} from {times[0]} to {times[-1]} that fit none; give them one, such as y.asfreq('D')"
        )
    freq: Any = min(found, key=len).freq
    return freq


def _candidates(times: Any) -> list[pd.offsets.BaseOffset]:
    if len(times) < 2:
        return []
    months = int(_commonest(12 * times.year + times.month))
    names = [f"{months}{name}" for name in ("MS", "ME") if months > 0]
    names += [f"W-{times[0]:%a}".upper(), "B"]
    spacing = pd.Timedelta(_commonest(times))
    few = (times[-1] - times[0]) / spacing < SPARSEST * len(times)
    return [to_offset(freq) for freq in (*names, *[spacing] * few)]


def _steps(times: pd.DatetimeIndex, freq: pd.offsets.BaseOffset) -> pd.DatetimeIndex:
    return pd.date_range(times[0], times[-1], freq=freq)


def _commonest(values: pd.Index) -> Any:
    """The commonest difference of neighbours."""
    found, counts = np.unique(np.diff(values.to_numpy()), return_counts=True)
    return found[counts.argmax()]
