"""The models of the benchmark behind one face. What differs from a library's defaults is in `settings`."""

from __future__ import annotations

import logging
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..training import seeded
from .scores import LEVELS
from .sets import Problem

Array = NDArray[np.float64]
History = dict[str, pd.Series]


class Model(ABC):
    """Fits on histories and forecasts from those or from longer ones. seeded: whether chance plays a part."""

    seeded = True
    settings: dict[str, Any]

    @abstractmethod
    def fit(self, problem: Problem, history: History, seed: int) -> None: ...

    @abstractmethod
    def predict(self, history: History) -> tuple[Array, Array | None]:
        """Point forecasts [series, horizon] and quantiles at LEVELS [series, horizon, levels], where there are any."""


class Sktime(Model):
    """An sktime forecaster; histories longer than the fitted one come by `update(..., update_params=False)`.

    make(seed, **settings) gives the forecaster.
    """

    def __init__(self, make: Callable[..., Any], seeded: bool = True, quantiles: bool = True, **settings: Any) -> None:
        self.make, self.seeded, self.quantiles, self.settings = make, seeded, quantiles, settings

    def fit(self, problem: Problem, history: History, seed: int) -> None:
        with seeded(seed), quietly():
            self.forecaster = self.make(seed, **self.settings)
            self.forecaster.fit(as_panel(history), fh=range(1, problem.horizon + 1))
        self.seen = {name: len(values) for name, values in history.items()}

    def predict(self, history: History) -> tuple[Array, Array | None]:
        new = {name: values.iloc[self.seen[name] :] for name, values in history.items()}
        self.seen = {name: len(values) for name, values in history.items()}
        with quietly():
            if any(map(len, new.values())):
                self.forecaster.update(as_panel(new), update_params=False)
            point = by_series(pd.DataFrame(self.forecaster.predict()), history)[..., 0]
            if not self.quantiles:
                return point, None
            return point, by_series(self.forecaster.predict_quantiles(alpha=list(LEVELS)), history)


def as_panel(history: History) -> pd.Series | pd.DataFrame:
    """One series as it is, several as sktime's frame with the index (series, time)."""
    if len(history) == 1:
        (values,) = history.values()
        return values
    return pd.concat(history, names=["series", "time"]).to_frame("value")


def by_series(frame: pd.DataFrame, history: History) -> Array:
    """sktime's forecasts as [series, horizon, columns], series in the order of `history`."""
    if len(history) == 1:
        return frame.to_numpy(float)[None]
    return np.stack([frame.loc[name].to_numpy(float) for name in history])


class GluonTS(Model):
    """A GluonTS estimator; point forecasts are medians. make(freq, **settings) gives the estimator."""

    def __init__(self, make: Callable[..., Any], max_epochs: int, **settings: Any) -> None:
        self.make, self.settings = make, {"max_epochs": max_epochs, **settings}

    def fit(self, problem: Problem, history: History, seed: int) -> None:
        settings = {"prediction_length": problem.horizon, **self.settings}
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = {"accelerator": "cpu", "max_epochs": settings.pop("max_epochs"), **quiet}
        with seeded(seed), quietly(), tempfile.TemporaryDirectory() as folder:
            trainer["default_root_dir"] = folder  # GluonTS' own estimators leave their checkpoints there
            estimator = self.make(frequency(history), trainer_kwargs=trainer, **settings)
            self.predictor = estimator.train(as_dataset(history))
        self.seed = seed

    def predict(self, history: History) -> tuple[Array, Array | None]:
        with seeded(self.seed), quietly():
            forecasts = list(self.predictor.predict(as_dataset(history)))
        quantiles = np.stack([[forecast.quantile(level) for level in LEVELS] for forecast in forecasts])
        return np.stack([forecast.quantile(0.5) for forecast in forecasts]), quantiles.swapaxes(1, 2)


def frequency(history: History) -> str:
    """Of the first series, as pandas writes it."""
    index = next(iter(history.values())).index
    assert isinstance(index, pd.PeriodIndex)
    return index.freqstr


def as_dataset(history: History) -> Any:
    """A GluonTS data set of the same series, in the same order."""
    from gluonts.dataset.common import ListDataset

    entries = [
        {"start": values.index[0], "target": values.to_numpy(np.float32), "item_id": name}
        for name, values in history.items()
    ]
    return ListDataset(entries, freq=frequency(history))


@contextmanager
def quietly() -> Iterator[None]:
    """Other people's models without their warnings and logs: scores and times are what is wanted here."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)
