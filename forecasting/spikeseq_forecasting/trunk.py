"""The trained part of the panel models: convolutions, spikes, SD-TCM blocks, and a head that starts at zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from spikeseq.blocks import Backbone, MaskedBatchNorm, Padding, ValidMean
from spikeseq.neurons import LIF

DILATIONS = (1, 2, 4, 8)
KERNEL = 9
STEPS = 64  # longer series are read with a stride, so that about so many steps are left


class Trunk(nn.Module):
    """Series [batch, time, inputs] and lengths [batch] -> [batch, outputs].

        h = norm(dilated convolutions of x)     `width` channels in four groups, dilation 1, 2, 4, 8; stride
        s = LIF(h)                              decay 0.5
        y = Backbone(Linear(s))                 `depth` SD-TCM blocks of PRF neurons
        out = Linear([rate of s, mean of y])    over valid steps; zero before training

    A series of n steps has ceil(n / stride) valid steps after the convolutions; what lies beyond changes nothing.
    """

    def __init__(self, inputs: int, outputs: int, *, width: int, depth: int, dropout: float, time: int) -> None:
        super().__init__()
        if width < len(DILATIONS) or width % len(DILATIONS):
            raise ValueError(f"width: expected a multiple of {len(DILATIONS)}, got {width}")
        self.stride = math.ceil(time / STEPS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, width // len(DILATIONS), KERNEL, self.stride, KERNEL // 2 * d, d) for d in DILATIONS
        )
        self.norm = MaskedBatchNorm(width)
        self.front = LIF(width, decay=0.5)
        self.mix = nn.Linear(width, width)
        self.backbone = Backbone(width, depth, neuron_options={"dt_min": 0.01, "dt_max": 1.0}, dropout=dropout)
        self.pool = ValidMean()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        h = torch.cat([convolution(x.transpose(1, 2)) for convolution in self.convolutions], 1).transpose(1, 2)
        padding = Padding(self.lengths(lengths), h.shape[1])
        spikes, _ = self.front(self.norm(h, padding))
        y, _ = self.backbone(self.mix(spikes), lengths=padding)
        pooled = torch.cat((self.pool(spikes, padding), self.pool(y, padding)), -1)
        return self.head(self.dropout(pooled))

    def lengths(self, lengths: Tensor) -> Tensor:
        """Valid steps after the convolutions."""
        return (lengths + self.stride - 1) // self.stride


class ResidualTask(LightningModule):
    """Trains `trunk` on what another model leaves: minimises the weighted mean of `loss(offset + trunk(x), y)`.

    Batches are (x, lengths, offset [batch, outputs], y, weight [batch]); `loss` gives one number an instance. AdamW
    with one cycle of the learning rate, peak `lr`.
    """

    def __init__(self, trunk: Trunk, loss: Callable[[Tensor, Tensor], Tensor], lr: float, weight_decay: float) -> None:
        super().__init__()
        self.trunk, self.loss, self.lr, self.weight_decay = trunk, loss, lr, weight_decay

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:  # noqa: ARG002
        return self._score(batch)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:  # noqa: ARG002
        self.log("val_loss", self._score(batch), batch_size=len(batch[0]), prog_bar=True, sync_dist=True)

    def _score(self, batch: tuple[Tensor, ...]) -> Tensor:
        x, lengths, offset, y, weight = batch
        return (self.loss(offset + self.trunk(x, lengths), y) * weight).sum() / weight.sum()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=self.weight_decay)
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=total, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def class_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each instance; y int64 [batch]."""
    return F.cross_entropy(logits, y, reduction="none")


def value_loss(values: Tensor, y: Tensor) -> Tensor:
    """Squared error of each instance, mean over outputs; y [batch, outputs]."""
    return (values - y).square().mean(-1)
