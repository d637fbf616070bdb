"""Lightning callbacks of the command line: epochs as lines of a log, predictions as a CSV file."""

import csv
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, ModelCheckpoint
from torch import Tensor


class EpochLines(Callback):
    """One line an epoch, for runs whose output goes to a file, where a progress bar would be noise."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if not trainer.is_global_zero:
            return
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        shown = {name: float(value) for name, value in sorted(trainer.callback_metrics.items()) if "lr-" not in name}
        metrics = "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
        seconds = time.monotonic() - self._began
        print(f"epoch {trainer.current_epoch + 1}{of}  {metrics}  {seconds:.0f} s in all", flush=True)


class RunNotes(Callback):
    """Says what Lightning does not: where an interrupted run can go on, and that a resumed one had nothing left."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._trained = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._trained = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if not self._trained and trainer.is_global_zero:
            epochs = trainer.current_epoch
            print(f"nothing to train: the checkpoint has all {epochs} epochs; for more: --trainer.max_epochs N")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            last = next((path for name, path in kept_checkpoints(trainer) if name == "last"), None)
            print(f"interrupted; go on with --ckpt_path {last}" if last else "interrupted; no checkpoint yet")


def kept_checkpoints(trainer: Trainer) -> list[tuple[str, str]]:
    """("best" or "last", path) of what the run has kept."""
    callbacks = [c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.best_model_path]
    # the callback that watches no score keeps the last one
    return [("best" if callback.monitor else "last", callback.best_model_path) for callback in callbacks]


class PredictionFile(BasePredictionWriter):
    """Writes `predictions.csv` into the run's folder: item, predicted class, its probability."""

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002 (Lightning's signature)
        predictions: Any,
        batch_indices: Any,
    ) -> None:
        if trainer.world_size != 1:
            raise RuntimeError(f"predict writes one file: expected one device, got {trainer.world_size}")
        path = Path(trainer.log_dir or trainer.default_root_dir) / "predictions.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("item", "class", "probability"))
            for indices, probabilities in zip(batch_indices[0], predictions, strict=True):
                writer.writerows(_rows(indices, probabilities))
        print(f"predictions: {path}")


def _rows(indices: list[int], probabilities: Tensor) -> list[tuple[int, int, str]]:
    best, classes = probabilities.max(-1)
    return [(i, int(c), f"{float(p):.6f}") for i, c, p in zip(indices, classes, best, strict=True)]
