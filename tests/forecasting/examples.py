"""Small series and forecasters that the tests of the forecaster share."""

from typing import Any

import numpy as np
import pandas as pd

from spikeseq_forecasting import SpikingForecaster

TINY = {"max_epochs": 2, "width": 8, "device": "cpu", "random_state": 0}
FH = [1, 2, 3, 4]


def series(steps=60, season=12, rise=0.3, seed=0, freq="M") -> Any:
    step = np.arange(steps)
    noise = np.random.default_rng(seed).normal(size=steps)
    index = pd.period_range("2000-01", periods=steps, freq=freq)
    return pd.Series(20 + rise * step + 5 * np.sin(2 * np.pi * step / season) + noise, index, name="y")


def panel(names=("a", "b", "c"), steps=50) -> Any:
    parts = {name: series(steps, seed=i) for i, name in enumerate(names)}
    return pd.concat(parts, names=["name", "time"]).to_frame("y")


def fitted(y: Any = None, fh: Any = FH, X: Any = None, **options: Any) -> Any:
    return SpikingForecaster(**{**TINY, **options}).fit(series() if y is None else y, X=X, fh=fh)
