"""Training with Lightning: parameter groups, schedule, checkpoints; and the classification of sequences."""

import math
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

try:
    from lightning.pytorch import LightningModule
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
except ModuleNotFoundError as error:
    raise ImportError("spikeseq.training needs Lightning: pip install 'spikeseq[train]'") from error

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from .neurons import Neuron


class Training(LightningModule):
    """What every task shares; a task gives the steps.

    AdamW in three groups, see `parameter_groups`; each group's learning rate follows `warmup_cosine` over the
    trainer's steps, with `warmup_steps` (in optimiser steps).

    Checkpoints hold tensors and plain values alone, so they load with `weights_only=True`; settings are not in them
    but in the config.yaml that the command line writes beside them. They carry torch's random state, so that a
    resumed run drops out what the whole run would have.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float = 5e-3,
        neuron_lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        if warmup_steps < 0:
            raise ValueError(f"{type(self).__name__}: expected warmup_steps of at least 0, got {warmup_steps}")
        self.model = model
        self.lr = lr
        self.neuron_lr = neuron_lr
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self._random_state: dict[str, Any] | None = None

    def model_inputs(self, batch: Any) -> Tensor | tuple[Tensor, Tensor]:
        """What the model takes of a batch: x, or (x, lengths)."""
        raise NotImplementedError(f"{type(self).__name__} says not what its model takes of a batch")

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(*inputs)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        total = self.trainer.estimated_stepping_batches
        if math.isinf(total):
            raise ValueError("the cosine schedule needs an end: give the trainer max_epochs or max_steps")
        groups = parameter_groups(self.model, self.lr, self.neuron_lr, self.weight_decay)
        # one kernel a group where torch has it; not under a loss scaler, where Lightning could not clip gradients
        fused = self.device.type == "cuda" and self.trainer.precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, fused=fused or None)
        schedule = LambdaLR(optimizer, partial(warmup_cosine, warmup=self.warmup_steps, total=int(total)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        checkpoint["random_state"] = {"cpu": torch.get_rng_state(), "cuda": cuda}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._random_state = checkpoint.get("random_state")

    def on_train_start(self) -> None:
        state, self._random_state = self._random_state, None
        if state is not None:
            torch.set_rng_state(state["cpu"].cpu())
            if len(state["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


class SequenceTask(Training):
    """Trains `model` to classify sequences.

    Batches are tuples whose last member is y int64 [batch] and whose others are what the model takes: (x, y), or
    (x, lengths, y) for padded sequences. The model gives logits [batch, classes]. Loss: cross-entropy with
    `label_smoothing`. Logs `*_loss` and `*_accuracy` for train, val and test. `options` are `Training`'s.
    """

    def __init__(self, model: nn.Module, label_smoothing: float = 0.0, **options: Any) -> None:
        super().__init__(model, **options)
        self.label_smoothing = label_smoothing

    def model_inputs(self, batch: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, Tensor]:
        *inputs, _ = batch
        return inputs[0] if len(inputs) == 1 else (inputs[0], inputs[1])

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:  # noqa: ARG002
        return self._score(batch, "train")

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:  # noqa: ARG002
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:  # noqa: ARG002
        self._score(batch, "test")

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:  # noqa: ARG002
        """The probability of each class, [batch, classes]."""
        *inputs, _ = batch
        return self(*inputs).softmax(-1)

    def _score(self, batch: tuple[Tensor, ...], split: str) -> Tensor:
        *inputs, y = batch
        logits = self(*inputs)
        training = split == "train"
        loss = F.cross_entropy(logits, y, label_smoothing=self.label_smoothing if training else 0.0)
        accuracy = (logits.argmax(-1) == y).float().mean()
        # Lightning weights by batch_size, so epoch means are means over items, also with a short last batch.
        for name, value in (("loss", loss.detach()), ("accuracy", accuracy)):
            self.log(
                f"{split}_{name}",
                value,
                on_step=False,
                on_epoch=True,
                prog_bar=name == "accuracy",
                batch_size=len(y),
                sync_dist=True,
            )
        return loss


def read_checkpoint(path: str | Path, task: nn.Module) -> dict[str, Any]:
    """A checkpoint of `task`, on the CPU. Raises ValueError, naming the file, if it is broken or another model's."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: list(value.shape) for name, value in checkpoint["state_dict"].items()}
    except pickle.UnpicklingError as error:  # torch's own words advise to trust the file
        raise ValueError(
            f"{path}: expected a whole checkpoint of tensors and plain values, got another file or one that holds more"
        ) from error
    except (RuntimeError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected a whole checkpoint, got {type(error).__name__}: {error}") from error
    expected = {name: list(value.shape) for name, value in task.state_dict().items()}
    differ = [name for name in expected | found if expected.get(name) != found.get(name)]
    if differ:
        first = differ[0]
        raise ValueError(
            f"{path}: expected a checkpoint of this model, got another one's: {len(differ)} of {len(expected | found)} "
            f"tensors differ, such as {first}: expected {expected.get(first, 'none')}, got {found.get(first, 'none')} "
            "(the settings it was trained with are in the config.yaml of its run)"
        )
    return checkpoint


def parameter_groups(model: nn.Module, lr: float, neuron_lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups, each trained parameter in one of them.

    neurons: all parameters owned by `Neuron` modules, at `neuron_lr`, no weight decay (PRF paper, appendix H: decay
    would pull log_dt and log_theta towards 0, a time scale of its own). no_decay: biases, norms and other parameters
    of fewer than two axes, at `lr`. decay: the rest, weight matrices and embeddings, at `lr` with `weight_decay`.
    """
    neurons = {id(p) for module in model.modules() if isinstance(module, Neuron) for p in module.parameters()}
    groups: dict[str, list[nn.Parameter]] = {"neurons": [], "no_decay": [], "decay": []}
    for p in _trained(model):
        groups["neurons" if id(p) in neurons else "no_decay" if p.ndim < 2 else "decay"].append(p)
    settings = {"neurons": (neuron_lr, 0.0), "no_decay": (lr, 0.0), "decay": (lr, weight_decay)}
    return [
        {"name": name, "params": params, "lr": settings[name][0], "weight_decay": settings[name][1]}
        for name, params in groups.items()
        if params
    ]


def _trained(model: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in model.parameters() if p.requires_grad)


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """The factor on the learning rate: linear over the first `warmup` steps, then half a cosine to 0 at `total`.

        (step + 1) / (warmup + 1)                                      step < warmup
        (1 + cos(pi (step - warmup) / (total - warmup))) / 2           warmup <= step <= total

    A run that ends within the warm-up has that part of it alone.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup)))) / 2
