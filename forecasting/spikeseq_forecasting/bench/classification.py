"""Classification of the UCR and UEA sets, published split: accuracy, seconds and firing rates.

MiniRocket's numba sets the number of OpenMP threads of the whole process; for comparable times run with
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..classifier import SpikingClassifier
from ..training import seeded
from .models import quietly
from .report import Job

BUNDLED = ("ItalyPowerDemand", "GunPoint", "ArrowHead", "BasicMotions", "OSULeaf", "JapaneseVowels")
LSTM_FCN_STEPS = 2_500_000  # of training, about half a minute a fit: of sktime's 2000 epochs as many as they are
Part = tuple[Any, np.ndarray]  # series, labels


def load(name: str, split: str, data_dir: Path | None = None) -> Part:
    """split "train" or "test". From `data_dir/name/name_TRAIN.tsv` (or `.ts`), as the UCR archive has it; without
    `data_dir` by sktime, which holds a few sets and downloads others. Values missing at the end are cut by the models
    that take series of unequal length.
    """
    if data_dir is None:
        from sktime.datasets import load_UCR_UEA_dataset

        part: Any = load_UCR_UEA_dataset(name, split=split, return_X_y=True, return_type="df-list")
        return part
    path = data_dir / name / f"{name}_{split.upper()}"
    if path.with_suffix(".tsv").is_file():
        table = pd.read_csv(path.with_suffix(".tsv"), sep="\t", header=None).to_numpy()
        return table[:, None, 1:], table[:, 0].astype(str)
    if path.with_suffix(".ts").is_file():
        from sktime.datasets import load_from_tsfile

        whole: Any = load_from_tsfile(str(path.with_suffix(".ts")), return_data_type="df-list")
        return whole
    raise FileNotFoundError(f"data_dir: expected {path}.tsv or .ts, found neither")


def sets_in(data_dir: Path) -> list[str]:
    """Names of the sets in a folder of the UCR archive."""
    return sorted(path.parent.name for path in data_dir.glob("*/*_TRAIN.ts*"))


def spiking(seed: int, train: Part) -> Any:  # noqa: ARG001
    return SpikingClassifier(random_state=seed)


def minirocket(seed: int, train: Part) -> Any:  # noqa: ARG001
    from sktime.classification.kernel_based import RocketClassifier

    rng = np.random.default_rng(0)  # numba compiles at the first fit, which would count as the first set's time
    for channels in (1, 2):
        RocketClassifier(500, "minirocket").fit(rng.normal(size=(4, channels, 20)), np.arange(4) % 2)
    return RocketClassifier(rocket_transform="minirocket", random_state=seed)


def lstm_fcn(seed: int, train: Part) -> Any:
    from sktime.classification.deep_learning.lstmfcn import LSTMFCNClassifierTorch

    series = train[0]
    steps = series.shape[0] * series.shape[2] if isinstance(series, np.ndarray) else sum(map(len, series))
    return LSTMFCNClassifierTorch(num_epochs=min(2000, max(1, LSTM_FCN_STEPS // steps)), random_state=seed)


MODELS: dict[str, Callable[[int, Part], Any]] = {
    "spikeseq": spiking,
    "minirocket": minirocket,
    "lstm-fcn": lstm_fcn,
}


def jobs(sets: Iterable[str], models: Iterable[str], seeds: Iterable[int], data_dir: Path | None) -> list[Job]:
    """A row for each set, model and seed."""
    made = []
    for name in sets:
        data = load(name, "train", data_dir), load(name, "test", data_dir)
        for model in models:
            for seed in seeds:
                label = {"table": "classification", "set": name, "model": model, "seed": seed}
                made.append((label, partial(score, MODELS[model], *data, seed)))
    return made


def score(make: Callable[[int, Part], Any], train: Part, test: Part, seed: int) -> dict[str, Any]:
    """Accuracy on the test part, CPU seconds, spikes a neuron and step (bank, and mean over the trunk's layers)."""
    with seeded(seed), quietly():
        classifier = make(seed, train)
        begin = time.process_time()
        try:
            classifier.fit(*train)
        except ValueError as error:
            return {"accuracy": None, "fit_cpu_s": None, "predict_cpu_s": None, "refused": str(error)}
        middle = time.process_time()
        predicted = classifier.predict(test[0])
        end = time.process_time()
    row: dict[str, Any] = {
        "settings": str(classifier),
        "train": len(train[1]),
        "test": len(test[1]),
        "accuracy": float((np.asarray(predicted) == test[1]).mean()),
        "fit_cpu_s": middle - begin,
        "predict_cpu_s": end - middle,
    }
    if isinstance(classifier, SpikingClassifier):
        rates = classifier.firing_rates(test[0])
        row["bank_rate"] = rates.pop("bank")
        row["trunk_rate"] = float(np.mean(list(rates.values()))) if rates else None
    return row
