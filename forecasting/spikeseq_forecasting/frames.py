"""pandas frames to arrays and back: the border to sktime. Rows are (column, instance), one network row each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]


def times_of(frame: pd.DataFrame) -> pd.Index:
    """The time stamps that occur, in order."""
    if not isinstance(frame.index, pd.MultiIndex):
        return frame.index
    return pd.Index(frame.index.levels[-1][np.unique(frame.index.codes[-1])])


def instances_of(frame: pd.DataFrame) -> pd.Index | None:
    """The series of a panel or hierarchy, in their order; None for a single one."""
    return frame.index.droplevel(-1).unique() if isinstance(frame.index, pd.MultiIndex) else None


def to_array(frame: pd.DataFrame, times: pd.Index, instances: pd.Index | None) -> Array:
    """frame -> [columns, instances, time], float64, NaN where a time is missing.

    Raises ValueError for infinite values and for columns of other things than numbers, saying where, and for an
    instance that is not among `instances`.
    """
    values = np.empty(frame.shape)
    for column, (name, part) in enumerate(frame.items()):
        try:
            values[:, column] = part.to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected numbers, got column {name!r} of {part.dtype}: {error}") from error
    if np.isinf(values).any():
        row, column = (int(at) for at in np.argwhere(np.isinf(values))[0])
        raise ValueError(f"expected finite values, got {values[row, column]} at {frame.index[row]}")
    when = frame.index.get_level_values(-1)
    place = times.get_indexer(when)
    if instances is None:
        who = np.zeros(len(frame), int)
    else:
        keys = frame.index.droplevel(-1)
        who = instances.get_indexer(keys)
        if (who < 0).any():
            raise ValueError(f"expected one of the series of fit, got {keys[np.argmin(who)]!r}; fit again to add one")
    out = np.full((frame.shape[1], 1 if instances is None else len(instances), len(times)), np.nan)
    out[:, who[place >= 0], place[place >= 0]] = values[place >= 0].T
    return out


def index_of(times: pd.Index, instances: pd.Index | None, names: list) -> pd.Index:
    """The index of a forecast at `times` of each instance."""
    if instances is None:
        return times
    keys = [key if isinstance(key, tuple) else (key,) for key in instances]
    return pd.MultiIndex.from_tuples([(*key, time) for key in keys for time in times], names=names)


def to_frame_values(values: NDArray, columns: int) -> NDArray:
    """[columns * instances, time, ...] -> [instances * time, columns, ...]."""
    rows, time = values.shape[:2]
    split = values.reshape(columns, rows // columns, time, *values.shape[2:])
    return np.moveaxis(split, 0, 2).reshape(-1, columns, *values.shape[2:])
