"""Language models trained for the same processor time, whatever else the machine does."""

from __future__ import annotations

import copy
import logging
import time
from itertools import islice
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer
from torch import nn

from spikeseq.cli import quieten
from spikeseq.language import LanguageTask
from spikeseq.tasks.language import Language

CLIP = 1.0  # gradient norm
TRIED = 6  # steps that measure what one step costs


class Budget(NamedTuple):
    """minutes of processor time for each model, warm-up included; carry: see `LanguageTask`."""

    minutes: float
    lr: float
    neuron_lr: float
    warmup_steps: int
    carry: bool


class Trained(NamedTuple):
    """A trained model, with the trainer, to score it."""

    trainer: Trainer
    task: LanguageTask
    steps: int
    minutes: float


def step_seconds(model: nn.Module, data: Language) -> float:
    """Processor time of one training step, the median of a few on a copy."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters())
    taken = []
    for chunk in islice(data.train_dataloader(), TRIED):
        began = time.process_time()
        nll, _ = model.nll(chunk.x, chunk.y, None, chunk.starts)  # type: ignore[operator]
        optimizer.zero_grad()
        nll.mean().backward()
        optimizer.step()
        taken.append(time.process_time() - began)
    return sorted(taken)[len(taken) // 2]


def train(model: nn.Module, data: Language, budget: Budget) -> Trained:
    """`model` trained with as many steps as the budget pays for, so that the cosine schedule ends with it."""
    quieten()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    steps = max(1, round(60 * budget.minutes / step_seconds(model, data)))
    task = LanguageTask(
        model, budget.carry, lr=budget.lr, neuron_lr=budget.neuron_lr, warmup_steps=min(budget.warmup_steps, steps // 4)
    )
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=CLIP, limit_val_batches=0,
    )  # fmt: skip
    began = time.process_time()
    trainer.fit(task, data)
    return Trained(trainer, task, steps, (time.process_time() - began) / 60)
