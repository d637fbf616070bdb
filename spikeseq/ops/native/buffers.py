"""What the kernels' functions share: flags, masks, and room for checkpoints and sums."""

from __future__ import annotations

import torch
from torch import Tensor

from ..surrogate import KINDS, Surrogate
from .library import Fire

TILE = 32  # steps between two checkpoints, as in tile.h
RESETS = {"none": 0, "soft": 1, "hard": 2}


def plain(tensor: Tensor) -> Tensor:
    """The tensor as the kernels read it: contiguous, and no conjugate or sign that torch has put off writing."""
    return tensor.resolve_conj().resolve_neg().contiguous()


def fire_flags(surrogate: Surrogate, strict: bool, output: str) -> Fire:
    return Fire(KINDS.index(surrogate.kind), bool(strict), output == "membrane", surrogate.parameter)


def checkpoints_for(x: Tensor, planes: int = 1) -> Tensor:
    return x.new_empty(x.shape[0], -(-x.shape[1] // TILE), planes * x.shape[2])


def rows_for(x: Tensor, planes: int = 1) -> Tensor:
    """Room for a parameter's gradient, one row for each sequence: summed in double, the same for any thread count."""
    return x.new_zeros(x.shape[0], planes * x.shape[2], dtype=torch.float64)


def total_of(rows: Tensor | None) -> Tensor | None:
    return None if rows is None else rows.sum(0).float()


def mask(starts: Tensor | None) -> Tensor | None:
    return None if starts is None else starts.contiguous().view(torch.uint8)


def reach_of(x: Tensor, lags: int, starts: Tensor | None) -> Tensor:
    """How many lags each step may look back: no further than its episode's start. int32 [batch, time]."""
    past = lags - 1
    if starts is None:
        return torch.full(x.shape[:2], past, dtype=torch.int32, device=x.device)
    steps = torch.arange(x.shape[1], device=x.device)
    since = torch.where(starts, steps, -past - 1).cummax(1).values  # the step at which the present episode began
    return (steps - since).clamp(max=past).to(torch.int32)


def window_of(x: Tensor, state: Tensor, reach: Tensor, starts: Tensor | None) -> Tensor:
    """The last inputs of the present episode, as many as the next step may look back to."""
    past, time = state.shape[1], x.shape[1]
    if past == 0:
        return state
    window = torch.cat([state, x], 1)[:, time:] if time < past else x[:, time - past :].clone()
    if starts is not None:
        lag = torch.arange(past - 1, -1, -1, device=x.device)
        window = window * (lag <= reach[:, -1:]).to(x.dtype).unsqueeze(-1)
    return window
