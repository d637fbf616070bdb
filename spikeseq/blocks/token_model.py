"""A model of the next token, at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .adaptive import NARROWING, AdaptiveEncoder
from .backbone import Backbone
from .encoder import Encoder, make_encoder
from .fold import fold_backbone, fold_last_norm
from .padding import as_padding

IGNORED = -100  # a target that counts for nothing, as in torch's cross-entropy


class TokenModel(nn.Module):
    """Tokens in, logits over the vocabulary at each step: Embedding, backbone, Linear.

        logits, state = model(x, state=None, starts=None, lengths=None)     x [batch, time] -> [batch, time, vocabulary]
        nll, state = model.nll(x, y, state=None, starts=None)               y, nll [batch, time], nll in nats
        logits_t, state = model.step(x_t, state)                            x_t [batch] -> [batch, vocabulary]

    cutoffs: for large vocabularies sorted by falling frequency, ascending numbers of tokens at which narrower bands
    begin, in the embedding (`AdaptiveEncoder`) and in the head (torch's AdaptiveLogSoftmaxWithLoss, arXiv 1609.04309);
    the logits are then log-probabilities, and `nll` costs far less than they do. `options` are `Backbone`'s; `state`,
    `starts` and `lengths` as there.
    """

    def __init__(
        self, vocabulary: int, width: int, depth: int, cutoffs: Sequence[int] | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.backbone = Backbone(width, depth, **options)
        self.encoder: Encoder | AdaptiveEncoder
        self.head: nn.Linear | nn.AdaptiveLogSoftmaxWithLoss
        if cutoffs is None:
            self.encoder = make_encoder(None, vocabulary, width)
            self.head = nn.Linear(width, vocabulary)
        else:
            if [0, *cutoffs, vocabulary] != sorted({0, *cutoffs, vocabulary}):
                raise ValueError(f"cutoffs: expected ascending numbers within 1..{vocabulary - 1}, got {cutoffs}")
            if width < NARROWING ** len(cutoffs):
                least = int(NARROWING ** len(cutoffs))
                raise ValueError(f"cutoffs: expected a width of at least {least} for {len(cutoffs)}, got {width}")
            self.encoder = AdaptiveEncoder(vocabulary, width, cutoffs)
            self.head = nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, list(cutoffs), NARROWING)

    def forward(
        self,
        x: Tensor,
        state: tuple[Any, ...] | None = None,
        starts: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        y, state = self._features(x, state, starts, lengths)
        return self._logits(y), state

    def nll(
        self, x: Tensor, y: Tensor, state: tuple[Any, ...] | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        """`-log p(y_t | x_1..x_t)` in nats [batch, time], 0 where y is -100, without all the logits."""
        features, state = self._features(x, state, starts)
        flat, targets = features.flatten(0, 1), y.flatten()
        if isinstance(self.head, nn.Linear):
            return F.cross_entropy(self.head(flat), targets, ignore_index=IGNORED, reduction="none").view_as(y), state
        counted = (targets != IGNORED).nonzero().squeeze(1)
        values = -self.head(flat[counted], targets[counted]).output
        return values.new_zeros(len(targets)).index_copy(0, counted, values).view_as(y), state

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """A fresh state for `batch` sequences."""
        return self.backbone.initial_state(batch)

    def step(self, x_t: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """One step; None starts afresh."""
        self.encoder.check(x_t, "batch")
        y_t, state = self.backbone.step(self.encoder(x_t), state)
        return self._logits(y_t), state

    def fold(self) -> TokenModel:
        """An inference copy with the same logits, up to rounding: see `SequenceClassifier.fold`.

        With cutoffs the norms at the ends stay (as one multiply and add a channel).
        """
        folded = fold_backbone(self)
        if isinstance(folded.head, nn.Linear):
            fold_last_norm(folded.backbone, folded.head)
        return folded

    def _features(
        self, x: Tensor, state: tuple[Any, ...] | None, starts: Tensor | None, lengths: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        self.encoder.check(x, "batch", "time")
        return self.backbone(self.encoder(x), state, starts, as_padding(lengths, x.shape[0], x.shape[1]))

    def _logits(self, y: Tensor) -> Tensor:
        if isinstance(self.head, nn.Linear):
            return self.head(y)
        return self.head.log_prob(y.flatten(0, -2)).unflatten(0, y.shape[:-1])
