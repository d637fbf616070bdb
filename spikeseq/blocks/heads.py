"""Whole models: encoder, backbone, and a head for sequences or for pairs of sequences."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .backbone import Backbone
from .encoder import Encoder, make_encoder
from .fold import fold_backbone, fold_last_norm
from .padding import Padding, as_padding


class ValidMean(nn.Module):
    """Mean over the valid steps, summed in float32 or wider: y [batch, time, width] -> [batch, width]."""

    def forward(self, y: Tensor, lengths: Tensor | Padding | None = None) -> Tensor:
        padding = as_padding(lengths, y.shape[0], y.shape[1])
        wide = torch.promote_types(y.dtype, torch.float32)
        if padding is None:
            return y.mean(1, dtype=wide).to(y.dtype)
        total = y.masked_fill(~padding.mask[..., None], 0.0).sum(1, dtype=wide)
        return (total / padding.lengths[:, None]).to(y.dtype)


class PooledState(NamedTuple):
    """What a streaming classifier carries: the layers' states, the mean so far [batch, width], the steps so far."""

    layers: tuple[Any, ...]
    mean: Tensor
    steps: Tensor


class SequenceClassifier(nn.Module):
    """Encoder, backbone, mean over the valid steps, Linear to `classes`.

        logits = model(x, lengths=None)              logits [batch, classes]
        logits_t, state = model.step(x_t, state)     after t steps: the logits of model(x[:, :t])

    Give `inputs` for continuous x [batch, time, inputs] or `vocabulary` for tokens x [batch, time] in
    0..vocabulary-1; x_t lacks the time axis. `options` are `Backbone`'s. Streaming needs eval mode with batch norms,
    and one direction; None starts afresh. Wrong dtypes, shapes, values and lengths raise TypeError or ValueError.
    """

    def __init__(
        self,
        inputs: int | None = None,
        vocabulary: int | None = None,
        *,
        classes: int,
        width: int,
        depth: int,
        **options: Any,
    ) -> None:
        super().__init__()
        self.encoder: Encoder = make_encoder(inputs, vocabulary, width)
        self.backbone = Backbone(width, depth, **options)
        self.pool = ValidMean()
        self.head = nn.Linear(width, _classes(classes))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.encoder.check(x, "batch", "time")
        padding = as_padding(lengths, x.shape[0], x.shape[1])
        y, _ = self.backbone(self.encoder(x), lengths=padding)
        return self.head(self.pool(y, padding))

    def initial_state(self, batch: int) -> PooledState:
        """A fresh state for `batch` sequences."""
        weight = self.head.weight
        mean = torch.zeros(batch, self.backbone.width, device=weight.device, dtype=_state_dtype(weight))
        return PooledState(
            self.backbone.initial_state(batch), mean, torch.zeros(batch, dtype=torch.long, device=weight.device)
        )

    def step(self, x_t: Tensor, state: PooledState | None = None) -> tuple[Tensor, PooledState]:
        """One step: x_t [batch, inputs] or tokens [batch] -> logits of all steps so far [batch, classes], state."""
        self.encoder.check(x_t, "batch")
        if state is None:
            state = self.initial_state(x_t.shape[0])
        if not isinstance(state, PooledState):
            raise TypeError(f"state: expected the PooledState of an earlier step, got {type(state).__name__}")
        if state.mean.shape[0] != x_t.shape[0]:
            raise ValueError(f"state: expected batch {x_t.shape[0]} like x_t, got batch {state.mean.shape[0]}")
        y_t, layers = self.backbone.step(self.encoder(x_t), state.layers)
        steps = state.steps + 1
        mean = state.mean + (y_t - state.mean) / steps[:, None]
        return self.head(mean.to(self.head.weight.dtype)), PooledState(layers, mean, steps)

    def fold(self) -> SequenceClassifier:
        """An inference copy with the same logits, up to rounding: `Backbone.fold`, and the norms at both ends merged.

        A batch norm before the first block goes into the encoder (unless a residual passes it by), the norm
        after the last into the head: `mean_t(g y_t + h) W^T + b = mean_t(y_t) (g W)^T + (b + W h)`.
        """
        folded = fold_backbone(self)
        fold_last_norm(folded.backbone, folded.head)
        return folded


class PairClassifier(nn.Module):
    """Two documents through one backbone, pooled apart to a and b; [a, b, a - b, a * b] -> Linear -> GELU -> Linear.

        logits = model(x, lengths=None)     x [batch, 2, time] tokens (or [batch, 2, time, inputs]), lengths [batch, 2]

    Constructor as in `SequenceClassifier`. Source: the Retrieval task of the Long Range Arena, PRF paper, App. H.
    """

    def __init__(
        self,
        inputs: int | None = None,
        vocabulary: int | None = None,
        *,
        classes: int,
        width: int,
        depth: int,
        **options: Any,
    ) -> None:
        super().__init__()
        self.encoder: Encoder = make_encoder(inputs, vocabulary, width)
        self.backbone = Backbone(width, depth, **options)
        self.pool = ValidMean()
        self.compare = nn.Linear(4 * width, width)
        self.head = nn.Linear(width, _classes(classes))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        self.encoder.check(x, "batch", "documents = 2", "time")
        if x.shape[1] != 2:
            raise ValueError(f"input: expected 2 documents a sample, [batch, 2, time], got {list(x.shape)}")
        if lengths is not None and lengths.shape != x.shape[:2]:
            raise ValueError(f"lengths: expected [batch, 2] = {list(x.shape[:2])}, got {list(lengths.shape)}")
        padding = as_padding(None if lengths is None else lengths.flatten(), 2 * x.shape[0], x.shape[2])
        y, _ = self.backbone(self.encoder(x.flatten(0, 1)), lengths=padding)
        a, b = self.pool(y, padding).unflatten(0, (-1, 2)).unbind(1)
        return self.head(F.gelu(self.compare(torch.cat((a, b, a - b, a * b), dim=-1))))

    def fold(self) -> PairClassifier:
        """An inference copy with the same logits, up to rounding: see `SequenceClassifier.fold`.

        The last norm stays (as one multiply and add a channel), because a * b is not linear in it.
        """
        return fold_backbone(self)


def _classes(classes: int) -> int:
    if classes < 1:
        raise ValueError(f"classes: expected at least 1, got {classes}")
    return classes


def _state_dtype(weight: Tensor) -> torch.dtype:
    """A running mean is never narrower than float32."""
    return torch.promote_types(weight.dtype, torch.float32)
