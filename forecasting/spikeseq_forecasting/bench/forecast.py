"""Forecasts of the small sets: MASE, weighted quantile loss and seconds, the same windows for all models."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from . import peers, sets
from .models import Model
from .report import Job
from .scores import mase, pinball, weighted_quantile_loss
from .sets import Problem

REFITS = ("each", "first")


def jobs(set_names: Iterable[str], models: Iterable[str], seeds: Iterable[int], refit: str) -> list[Job]:
    """Models without chance run once, with no seed. The sets are read here, so a missing library shows at once."""
    made = []
    for problem in [sets.SETS[name]() for name in set_names]:
        for name in models:
            chance = peers.MODELS[name](problem).seeded
            for seed in seeds if chance else [None]:
                label = {"table": "forecast", "set": problem.name, "model": name, "refit": refit, "seed": seed}
                made.append((label, partial(score_anew, name, problem, seed or 0, refit)))
    return made


def score_anew(name: str, problem: Problem, seed: int, refit: str) -> dict[str, Any]:
    """`score` of a model made for it, with its settings and the problem's."""
    model = peers.MODELS[name](problem)
    sizes = {"horizon": problem.horizon, "season": problem.season, "windows": problem.windows}
    return {**sizes, "settings": model.settings, **score(model, problem, seed, refit)}


def score(model: Model, problem: Problem, seed: int, refit: str = "each") -> dict[str, Any]:
    """One row of the table. refit: fit anew before each window, or once before the first.

    mase: mean over windows; wql: pooled over windows; fit_cpu_s: mean over fits; predict_cpu_s: mean over windows.
    """
    if refit not in REFITS:
        raise ValueError(f"refit: expected one of {', '.join(REFITS)}, got {refit!r}")
    scaled, losses, truths, fitting, predicting = [], [], [], [], []
    for window in range(problem.windows):
        history, truth = problem.history(window), problem.truth(window)
        begin = time.process_time()
        if refit == "each" or window == 0:
            model.fit(problem, history, seed)
            fitting.append(time.process_time() - begin)
        begin = time.process_time()
        point, quantiles = model.predict(history)
        predicting.append(time.process_time() - begin)
        scaled.append(mase(truth, point, history.values(), problem.season))
        losses.append(None if quantiles is None else pinball(truth, quantiles))
        truths.append(truth)
    return {
        "mase": float(np.mean(scaled)),
        "wql": None if losses[0] is None else weighted_quantile_loss(losses, truths),
        "fit_cpu_s": float(np.mean(fitting)),
        "predict_cpu_s": float(np.mean(predicting)),
        "mase_by_window": scaled,
    }
