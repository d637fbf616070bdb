"""The published protocols: every test window of a multivariate set, at each horizon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import loaders
from ..presets import LONG_HORIZON
from ..protocols import LONG_HORIZONS, SEQSNN_HORIZONS, Array, Forecast, Split, Starts, evaluate, long_horizon, seqsnn
from ..training import seeded
from .models import quietly
from .report import Job

PROTOCOLS = {"long": (long_horizon, LONG_HORIZONS), "seqsnn": (seqsnn, SEQSNN_HORIZONS)}
NUMBERS_AT_ONCE = 1 << 23  # of forecasts, which bounds the memory
Fitter = Callable[[Split, int, int], tuple[Forecast, dict[str, Any]]]  # split, horizon, seed -> forecast, settings


def jobs(
    protocol: str,
    data_dir: Path,
    sets: Iterable[str],
    models: Iterable[str],
    steps: Iterable[int] | None,
    seeds: Iterable[int],
) -> list[Job]:
    """The sets are read and split here, so what is missing or too short shows at once."""
    split_by, published = PROTOCOLS[protocol]
    made = []
    for name in sets:
        values = loaders.load(name, data_dir).to_numpy()
        for horizon in steps or published:
            split = split_by(name, values, horizon)
            for model in models:
                for seed in seeds if model != "last-value" else [None]:
                    label = {"table": "horizons", "protocol": protocol, "set": name, "model": model}
                    measure = partial(score, FITTERS[model], split, horizon, seed or 0)
                    made.append(({**label, "horizon": horizon, "seed": seed}, measure))
    return made


def score(fit: Fitter, split: Split, horizon: int, seed: int) -> dict[str, Any]:
    """One row: scores on the test windows and CPU seconds of the fit and of all test forecasts."""
    with seeded(seed), quietly():
        begin = time.process_time()
        forecast, settings = fit(split, horizon, seed)
        middle = time.process_time()
        batch = max(1, NUMBERS_AT_ONCE // (horizon * split.values.shape[1]))
        scores = evaluate(forecast, split.values, split.test, horizon, batch)
        end = time.process_time()
    times = {"fit_cpu_s": middle - begin, "predict_cpu_s": end - middle}
    return {"settings": settings, **asdict(scores), **times}


def last_value(split: Split, horizon: int, seed: int) -> tuple[Forecast, dict[str, Any]]:  # noqa: ARG001
    return lambda starts: np.repeat(split.values[starts - 1][:, None], horizon, axis=1), {}


def linear(kind: str) -> Fitter:
    """sktime's NLinear or DLinear ("N", "D"), one layer for all series, on the mean squared error.

    Look-back, epochs and batch as in the script of its authors (github.com/cure-lab/LTSF-Linear); no early stopping.
    """

    def fit(split: Split, horizon: int, seed: int) -> tuple[Forecast, dict[str, Any]]:  # noqa: ARG001
        import torch
        from sktime.forecasting import ltsf

        settings = {"seq_len": 336, "num_epochs": 10, "batch_size": 32, "lr": 1e-3}
        series = split.values.shape[1]
        model = getattr(ltsf, f"LTSF{kind}LinearForecaster")(pred_len=horizon, in_channels=series, **settings)
        model.fit(pd.DataFrame(split.values[: split.validation[0]]), fh=range(1, horizon + 1))
        steps = np.arange(-settings["seq_len"], 0)

        def forecast(starts: Starts) -> Array:
            with torch.inference_mode():
                return model.network(torch.from_numpy(split.values[starts[:, None] + steps]).float()).numpy()

        return forecast, settings

    return fit


def spiking(split: Split, horizon: int, seed: int) -> tuple[Forecast, dict[str, Any]]:
    """SpikingForecaster, one network for all series; it sees all of the past that there is."""
    from ..forecaster import SpikingForecaster

    model = SpikingForecaster(random_state=seed, device="cpu", **LONG_HORIZON)
    values = pd.DataFrame(split.values)
    model.fit(values.iloc[: split.validation[0]], fh=range(1, horizon + 1))
    return lambda starts: model.predict_rolling(values.iloc[: starts.max()], starts.tolist()), LONG_HORIZON


FITTERS: dict[str, Fitter] = {
    "spiking-forecaster": spiking,
    "last-value": last_value,
    "nlinear": linear("N"),
    "dlinear": linear("D"),
}
