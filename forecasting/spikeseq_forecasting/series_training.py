"""How an ensemble of series models is trained: from ridge regressions on, by Lightning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from .ensemble import Ensemble
from .linear_start import ridge_start
from .training import fit_quietly, resolve_device
from .training_data import Batches, Block, Crops

SHORTEST = 4  # steps to train on


def train(
    model: Ensemble,
    blocks: Sequence[Block],
    epochs: int,
    *,
    start: bool,
    validation: float,
    sizes: tuple[int, int, int],
    lr: float,
    weight_decay: float,
    device: str,
    trainer_options: dict[str, Any] | None,
    **options: Any,
) -> None:
    """Train all members side by side, in place, each on its block of the same series.

    start: from ridge regressions, else from the weights as they are. validation: part of each series, at its end, that
    is held out. sizes: of a crop, of a batch, and steps of a crop that are scored. options: more of `fit_quietly`.
    Series too short to train on change nothing, with a warning.
    """
    time = blocks[0].values.shape[1]
    if time < SHORTEST:
        warnings.warn(
            f"SpikingForecaster: expected {SHORTEST} steps to train on, got {time}; the forecast is the baseline",
            stacklevel=2,
        )
        return
    cut = time - round(validation * time)
    if not 2 < cut <= time:
        raise ValueError(f"validation: expected a part in [0, 1) that leaves 3 steps, got {validation}")
    resolve_device(device)  # a wrong one shows before the work
    pairs = list(zip(model, blocks, strict=True))
    batches = Batches([Crops(*pair, cut, *sizes) for pair in pairs])
    held_out = Batches([Crops(*pair, cut, *sizes, held_out=True) for pair in pairs]) if cut < time else None
    if start:
        for pair in pairs:
            ridge_start(*pair, cut)
    task = ForecastTask(model, lr, weight_decay, epochs * len(batches))
    trainer = {"gradient_clip_val": 1.0, **(trainer_options or {})}
    fit_quietly(task, batches, held_out, max_epochs=epochs, device=device, trainer_options=trainer, **options)


class ForecastTask(LightningModule):
    """AdamW, its learning rate on a cosine to zero. What a neuron's time constants are is not decayed."""

    def __init__(self, model: Ensemble, lr: float, weight_decay: float, steps: int) -> None:
        super().__init__()
        self.model, self.lr, self.weight_decay, self.steps = model, lr, weight_decay, steps

    def training_step(self, batch: Sequence[dict[str, Any]]) -> Tensor:
        return self.model.loss(batch)

    def validation_step(self, batch: Sequence[dict[str, Any]]) -> None:
        self.log("val_loss", self.model.loss(batch), batch_size=len(batch[0]["x"]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
