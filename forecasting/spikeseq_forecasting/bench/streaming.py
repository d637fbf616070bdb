"""What one new value costs after a short and a long history: `update` and `predict`, beside recomputing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..training import seeded
from .models import quietly
from .report import Job

HORIZON, SEASON = 24, 24
FITTED = 500  # steps that each forecaster is fitted on; the rest of its history comes by update
UPDATES = 50


def naive(seed: int) -> Any:  # noqa: ARG001
    from sktime.forecasting.naive import NaiveForecaster

    return NaiveForecaster(strategy="last", sp=SEASON)


def spiking(seed: int) -> Any:
    from ..forecaster import SpikingForecaster

    return SpikingForecaster(season=SEASON, max_epochs=1, random_state=seed, device="cpu")


FORECASTERS: dict[str, Callable[[int], Any]] = {"spiking-forecaster": spiking, "seasonal-naive": naive}


def jobs(models: Iterable[str], rows: Iterable[int], seeds: Iterable[int]) -> list[Job]:
    made = []
    for model in models:
        for count in rows:
            for seed in seeds:
                label = {"table": "streaming", "model": model, "rows": count, "seed": seed}
                made.append((label, partial(score, FORECASTERS[model], count, seed)))
    return made


def score(make: Callable[[int], Any], rows: int, seed: int) -> dict[str, Any]:
    """Milliseconds of CPU time, the median over single rows, of a forecaster that has seen `rows` rows."""
    step = np.arange(rows + UPDATES)
    values = np.sin(2 * np.pi * step / SEASON) + 0.1 * np.random.default_rng(seed).normal(size=len(step))
    y = pd.Series(values, pd.period_range("2000-01-01", periods=len(step), freq="h"))
    with seeded(seed), quietly():
        forecaster = make(seed).fit(y.iloc[:FITTED], fh=range(1, HORIZON + 1))
        begin = time.process_time()
        if rows > FITTED:
            forecaster.update(y.iloc[FITTED:rows], update_params=False)
        caught_up = time.process_time() - begin
        updating, predicting = [], []
        for row in range(rows, rows + UPDATES):
            begin = time.process_time()
            forecaster.update(y.iloc[row : row + 1], update_params=False)
            middle = time.process_time()
            forecaster.predict()
            updating.append(middle - begin)
            predicting.append(time.process_time() - middle)
    return {
        "update_ms": 1e3 * float(np.median(updating)),
        "predict_ms": 1e3 * float(np.median(predicting)),
        "all_rows_at_once_ms": 1e3 * caught_up,
    }
