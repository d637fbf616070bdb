"""Training of language models with Lightning: carried state, perplexity, bits per byte."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric

from .blocks.token_model import IGNORED
from .neurons import detach
from .tasks.chunks import Chunk
from .tasks.language import SPLITS, Language
from .tasks.vocabulary import digest
from .training import Training

VOCABULARY_FILE = "vocabulary.json"


class Perplexity(MeanMetric):
    """exp of the mean negative log-likelihood a token."""

    def compute(self) -> Tensor:
        return super().compute().exp()


class LanguageTask(Training):
    """Trains `model` to predict the next token of the texts of a `Language` data module.

    carry: each chunk begins with the state in which the chunk before it ended, without gradients through it (truncated
    back-propagation through time); without it every chunk begins afresh. Loss: mean negative log-likelihood a token,
    in nats. Logs `*_loss`, `*_perplexity` (a token) and `*_bits_per_byte` (of the text in its file) for train, val
    and test. The vocabulary goes to `vocabulary.json` in the run's folder, its digest into the checkpoints, so that
    none is used with another vocabulary. `options` are `Training`'s.
    """

    def __init__(self, model: nn.Module, carry: bool = True, **options: Any) -> None:
        super().__init__(model, **options)
        self.carry = carry
        self.perplexity: Any = nn.ModuleDict({f"{split}_perplexity": Perplexity() for split in SPLITS})
        self._carried: dict[str, Any] = {}

    def model_inputs(self, batch: Chunk) -> Tensor:
        return batch.x

    def setup(self, stage: str) -> None:  # noqa: ARG002
        expected = self._data().vocabulary.size
        vocabulary = getattr(self.model, "vocabulary", expected)
        if vocabulary != expected:
            raise ValueError(f"model: expected vocabulary={expected} as the data has, got vocabulary={vocabulary}")

    def on_fit_start(self) -> None:
        folder = self.trainer.log_dir or self.trainer.default_root_dir  # asked of all processes: it is a broadcast
        if self.trainer.is_global_zero and self.trainer.logger:
            path = Path(folder) / VOCABULARY_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._data().vocabulary.as_json(), encoding="utf-8")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary"] = digest(self._data().vocabulary)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if checkpoint.get("vocabulary") != digest(self._data().vocabulary):
            raise ValueError(
                "checkpoint: expected the vocabulary that it was trained with; give the data module "
                f"vocabulary={VOCABULARY_FILE} of the folder of that run"
            )

    def on_train_epoch_start(self) -> None:
        self._carried.pop("train", None)

    def on_validation_epoch_start(self) -> None:
        self._carried.pop("val", None)

    def on_test_epoch_start(self) -> None:
        self._carried.pop("test", None)

    def training_step(self, batch: Chunk, batch_idx: int) -> Tensor:  # noqa: ARG002
        return self._score(batch, "train")

    def validation_step(self, batch: Chunk, batch_idx: int) -> None:  # noqa: ARG002
        self._score(batch, "val")

    def test_step(self, batch: Chunk, batch_idx: int) -> None:  # noqa: ARG002
        self._score(batch, "test")

    def _score(self, batch: Chunk, split: str) -> Tensor:
        model: Any = self.model
        nll, state = model.nll(batch.x, batch.y, self._carried.get(split), batch.starts)
        if self.carry:
            self._carried[split] = detach(state)
        tokens = int((batch.y != IGNORED).sum())
        loss = nll.sum() / tokens
        bits = loss.detach() / (math.log(2) * self._data().bytes_per_token(split))
        perplexity = self.perplexity[f"{split}_perplexity"]
        perplexity.update(loss.detach(), tokens)
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": tokens, "sync_dist": True}
        self.log(f"{split}_loss", loss.detach(), **options)
        self.log(f"{split}_bits_per_byte", bits, **options)
        self.log(f"{split}_perplexity", perplexity, prog_bar=True, **options)
        return loss

    def _data(self) -> Language:
        data = self.trainer.datamodule  # type: ignore[attr-defined] (Lightning's Trainer has it)
        if not isinstance(data, Language):
            raise TypeError(f"LanguageTask: expected a Language data module, got {type(data).__name__}")
        return data
