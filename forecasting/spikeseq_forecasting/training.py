"""Training by Lightning's Trainer, quietly: no files, no logs, and no trace in the global random generators."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

MONITOR = "val_loss"


def fit_quietly(
    module: LightningModule,
    train: Iterable[Any],
    val: Iterable[Any] | None = None,
    *,
    max_epochs: int,
    patience: int | None = None,
    device: str | torch.device = "auto",
    random_state: int | np.random.RandomState | None = None,
    verbose: bool = False,
    trainer_options: dict[str, Any] | None = None,
) -> Trainer:
    """Train `module`, in place, on the batches of `train`; afterwards it is on the CPU and in eval mode.

    val: batches to validate on after each epoch. The module must then log "val_loss" in its `validation_step`; the
    weights of the epoch with the lowest one are put back at the end (they are kept in memory), and with `patience`
    training stops after so many epochs without a better one. A validation loss that is never finite raises
    RuntimeError.

    random_state: the same one gives the same result, including the order of a shuffling DataLoader; None is a fresh
    seed. The generators of torch, numpy and Python are as before afterwards. device: see `resolve_device`. verbose:
    Lightning's progress bar. trainer_options: arguments of Lightning's Trainer, such as `{"devices": 4, "strategy":
    "ddp"}` or `{"gradient_clip_val": 1.0}`; they win over what is set here, and their callbacks join those used here.
    Of several processes each draws its own random numbers, from random_state and its rank; a "val_loss" must then be
    logged with sync_dist=True, so that all keep the same weights.
    """
    callbacks: list[Callback] = []
    if val is not None:
        callbacks.append(BestWeights())
        if patience is not None:
            callbacks.append(EarlyStopping(MONITOR, patience=patience, check_on_train_epoch_end=False))
    options = dict(trainer_options or {})
    more = options.pop("callbacks", None) or []
    callbacks += [more] if isinstance(more, Callback) else more
    settings = {
        "max_epochs": max_epochs,
        **_trainer_device(resolve_device(device)),
        "callbacks": callbacks,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": verbose,
        "num_sanity_val_steps": 0,
    }
    with seeded(random_state) as seed, _quiet():
        callbacks.insert(0, SeedOfEachProcess(seed))
        trainer = Trainer(**settings | options)
        try:
            trainer.fit(module, train, val)
        finally:
            module.trainer = None  # it holds the batches and the optimiser's state
    module.eval()
    return trainer


class SeedOfEachProcess(Callback):
    """Random numbers of each process of a run on several: with those of the first all would draw the same batches."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if trainer.world_size > 1:
            _seed(self.seed + trainer.global_rank)


class BestWeights(Callback):
    """Keeps the weights of the epoch with the lowest "val_loss" in memory and puts them back when the fit ends."""

    def __init__(self) -> None:
        self.best = float("inf")
        self.weights: dict[str, torch.Tensor] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if MONITOR not in trainer.callback_metrics:
            raise RuntimeError(f"expected validation_step to log {MONITOR!r}, got {sorted(trainer.callback_metrics)}")
        loss = float(trainer.callback_metrics[MONITOR])
        if loss < self.best:
            self.best = loss
            self.weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self.weights is None:
            raise RuntimeError(f"training diverged: {MONITOR} was never finite; try a lower learning rate")
        pl_module.load_state_dict(self.weights)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """ "auto" is the first CUDA device where there is one, else the CPU; others as in torch: "cpu", "cuda", "cuda:1".

    Raises ValueError for another kind of device and for one that this machine lacks.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected 'auto', 'cpu', 'cuda' or 'cuda:<number>', got {device!r}")
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            raise ValueError(f"device: expected one of {count} CUDA devices here, or 'cpu', got {str(device)!r}")
    return found


@contextmanager
def seeded(random_state: int | np.random.RandomState | None) -> Iterator[int]:
    """Random numbers of torch, numpy and Python from `random_state` inside; the generators are put back after.

    Gives the seed: the number itself, a draw from a RandomState, or a fresh one for None.
    """
    if isinstance(random_state, np.random.RandomState):
        seed = int(random_state.randint(2**31))
    else:
        seed = int(np.random.default_rng().integers(2**31)) if random_state is None else int(random_state)
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (the global one is what is kept)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            _seed(seed)
            yield seed
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


def _trainer_device(device: torch.device) -> dict[str, Any]:
    if device.type == "cpu":
        return {"accelerator": "cpu", "devices": 1}
    return {"accelerator": "gpu", "devices": [device.index or 0]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's messages and its advice on loaders and logging intervals; other warnings come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
