"""Text from a language model, one token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def generate(
    model: nn.Module, prompt: Tensor, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
) -> Iterator[int]:
    """Tokens without end, each drawn from what `model` (a `TokenModel` or one like it) expects after those before it.

    prompt: tokens [time], at least one (the start mark of a document, say). The prompt is read at once, then every
    token costs one step of the serial form: time and memory do not grow. p ~ exp(logits / temperature), of the
    `top_k` likeliest tokens alone if given; temperature 0 takes the likeliest. Draws come from `seed` alone.
    """
    if not temperature >= 0:
        raise ValueError(f"generate: expected temperature of at least 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"generate: expected top_k of at least 1, or None for all tokens, got {top_k}")
    if prompt.ndim != 1 or len(prompt) < 1:
        raise ValueError(f"generate: expected prompt [time] of at least one token, got {list(prompt.shape)}")
    return _tokens(model, prompt, temperature, top_k, torch.Generator().manual_seed(seed))


def _tokens(
    model: Any, prompt: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> Iterator[int]:
    # not around the loop: a generator must not leave inference mode on in its caller between two tokens
    with torch.inference_mode():
        logits, state = model(prompt[None])
        logits_t = logits[:, -1]
    while True:
        token = _draw(logits_t[0].float().cpu(), temperature, top_k, generator)
        yield token
        with torch.inference_mode():
            logits_t, state = model.step(torch.tensor([token], device=prompt.device), state)


def _draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    return int(torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator))
