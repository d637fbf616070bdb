"""The series of one fit as the model reads them: in units of their own, on one time axis, with calendar and X."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import axis, frames
from .calendars import calendar
from .training_data import Block

NAMED = 5  # time stamps in a message


class Scale:
    """A curve and a unit for each row: curve(values) = offset + unit * what the model sees.

    The curve is the logarithm in the rows for which `log` is asked for and whose values are all above 0; what comes
    later at 0 or below counts as their smallest. Else it is the values themselves. offset, unit: mean and standard
    deviation, 1 for a constant series; 0 and the mean for `counts`.
    """

    def __init__(self, values: NDArray[np.float64], log: bool, counts: bool) -> None:
        self.smallest = np.nanmin(values, 1)
        self.log = log & (self.smallest > 0)
        values = self._curve(values)
        self.offset = np.zeros(len(values)) if counts else np.nanmean(values, 1)
        unit = np.nanmean(values, 1) if counts else np.nanstd(values, 1)
        self.unit = np.where(unit > 1e-9 * np.abs(self.offset), unit, 1.0)

    def apply(self, values: NDArray[np.float64]) -> Tensor:
        """values [rows, time] as the model sees them."""
        return tensor((self._curve(values) - self.offset[:, None]) / self.unit[:, None])

    def undo(self, values: Tensor) -> NDArray[np.float64]:
        """Values of the model [rows, ...] in the units of the series."""
        shape = (-1, *[1] * (values.ndim - 1))
        offset, unit, log = (part.reshape(shape) for part in (self.offset, self.unit, self.log))
        straight = values.double().numpy() * unit + offset
        with np.errstate(over="ignore"):
            return np.where(log, np.exp(np.where(log, straight, 0.0)), straight)

    def _curve(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.log.any():
            return values
        log = self.log[:, None]
        return np.where(log, np.log(np.where(log, np.maximum(values, self.smallest[:, None]), 1.0)), values)


class SeriesData:
    """Rows of the network, one for each column and series, on the `scales` of each of its members.

    logs: for each member, whether it sees logarithms. exogenous: names of the columns of X, by default those it has;
    they are standardised, and missing values are 0. times: all of the time axis, then the newest step read.

    Raises ValueError for infinite values, a series without any value, negative or broken counts, and other columns.
    """

    def __init__(
        self,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        counts: bool,
        logs: Sequence[bool],
        exogenous: Sequence[Hashable] | None = None,
    ) -> None:
        self.times, self.instances = axis.whole(frames.times_of(y)), frames.instances_of(y)
        self.columns, self.names, self.counts = y.shape[1], list(y.index.names), counts
        values = self._rows(y, self.times)
        observed = ~np.isnan(values)
        if not observed.any(1).all():
            row = int(np.argmin(observed.any(1)))
            raise ValueError(f"y: expected at least one observed value in each series, got none in {self.name(row)}")
        self.scales = [Scale(values, log, counts) for log in logs]
        self.exogenous = [] if X is None else list(X.columns) if exogenous is None else list(exogenous)
        if X is None and exogenous:
            raise ValueError(f"X: expected the columns of pretrain, {list(exogenous)}, got None")
        x = np.zeros((0, 1, 1)) if X is None else self._exogenous(X, self.times)
        with np.errstate(invalid="ignore"):
            known = ~np.isnan(x)
            count = np.maximum(known.sum((1, 2)), 1)
            self.x_mean = np.where(known, x, 0.0).sum((1, 2)) / count
            spread = np.where(known, (x - self.x_mean[:, None, None]) ** 2, 0.0).sum((1, 2)) / count
        self.x_unit = np.where(spread > 0, np.sqrt(spread), 1.0)

    @property
    def freq(self) -> pd.offsets.BaseOffset | None:
        return getattr(self.times, "freq", None)

    def name(self, row: int) -> str:
        """Which series and column a row is."""
        column, instance = divmod(row, self.instance_count)
        return f"column {column}" + ("" if self.instances is None else f" of series {self.instances[instance]!r}")

    @property
    def instance_count(self) -> int:
        return 1 if self.instances is None else len(self.instances)

    def read(self, y: pd.DataFrame, X: pd.DataFrame | None, times: pd.Index, cycles: tuple[float, ...]) -> list[Block]:
        """The values at `times`, which become the newest ones, as each member sees them."""
        values, known = self._rows(y, times), self.ahead(X, times, cycles)
        self.times = times[-1:]
        return [Block(scale.apply(values), tensor(scale.unit), *known) for scale in self.scales]

    def ahead(
        self, X: pd.DataFrame | None, times: pd.Index, cycles: tuple[float, ...], wanted: pd.Index | None = None
    ) -> tuple[Tensor, Tensor]:
        """Calendar and exogenous values [rows, time, ...] at `times`.

        Raises ValueError where X lacks a row at one of `wanted`, or, by default, has none at all.
        """
        phases = torch.from_numpy(calendar(times, cycles)).expand(self.columns * self.instance_count, -1, -1)
        if not len(self.x_mean):
            return phases, torch.zeros(*phases.shape[:2], 0)
        if X is None:
            raise ValueError(
                f"X: expected the {len(self.x_mean)} columns that fit had, at {times[0]}..{times[-1]}, got None"
            )
        if wanted is None:
            self._some_rows(X, times)
        else:
            self._all_rows(X, wanted)
        x = (self._exogenous(X, times) - self.x_mean[:, None, None]) / self.x_unit[:, None, None]
        return phases, tensor(np.nan_to_num(np.moveaxis(x, 0, 2))).repeat(self.columns, 1, 1)

    def _rows(self, y: pd.DataFrame, times: pd.Index) -> NDArray[np.float64]:
        values = frames.to_array(y, times, self.instances).reshape(-1, len(times))
        wrong = values[(values < 0) | (np.mod(values, 1) > 0)]
        if self.counts and len(wrong):
            raise ValueError(
                f"y: expected whole numbers of at least 0 for distribution 'negative_binomial', got {wrong[0]}"
            )
        return values

    def _exogenous(self, X: pd.DataFrame, times: pd.Index) -> NDArray[np.float64]:
        """[columns, instances, time], in the order of `exogenous`."""
        if sorted(map(repr, X.columns)) != sorted(map(repr, self.exogenous)):
            raise ValueError(f"X: expected the columns of fit, {self.exogenous}, got {list(X.columns)}")
        return frames.to_array(X.loc[:, self.exogenous], times, self.instances)

    def _some_rows(self, X: pd.DataFrame, times: pd.Index) -> None:
        if not self._rows_at(X, times).any():
            found = frames.times_of(X)
            raise ValueError(
                f"X: expected rows at the time stamps of y, {times[0]}..{times[-1]}, got "
                + (f"{found[0]}..{found[-1]}" if len(found) else "none")
            )

    def _all_rows(self, X: pd.DataFrame, times: pd.Index) -> None:
        there = self._rows_at(X, times)
        if not there.all():
            instance = int(np.argmin(there.all(1)))
            missing = [str(time) for time in times[~there[instance]]]
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            series = "" if self.instances is None else f" for series {self.instances[instance]!r}"
            raise ValueError(
                f"X: expected a row at each step of the forecast horizon, got none at "
                f"{', '.join(missing[:NAMED])}{more}{series}; a value that is not known may be NaN"
            )

    def _rows_at(self, X: pd.DataFrame, times: pd.Index) -> NDArray[np.bool_]:
        """Whether there is a row: [instances, time]."""
        return frames.to_array(pd.DataFrame({"row": 1.0}, X.index), times, self.instances)[0] == 1


def tensor(values: NDArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
