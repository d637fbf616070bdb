"""Whole histories read at once: what each member sees of them, and the forecasts from many of their steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from .ensemble import Ensemble
from .series_data import Scale
from .series_model import Seen
from .training_data import Block

STEPS_AT_ONCE = 256  # of which forecasts are made, which bounds the memory
Looked = tuple[Block, Seen, Tensor]


def look(model: Ensemble, blocks: Iterable[Block], phases: Tensor) -> list[Looked]:
    """For each member its block, what each step knows, and what its network reads there.

    phases [horizon, calendar]: with these the block's calendar goes on; its exogenous values are 0, the mean, there.
    """
    found = []
    for member, block in zip(model, blocks, strict=True):
        seen = member.look(block.values)
        x = member.inputs(seen, block.calendar, block.exogenous)
        later = torch.cat((block.calendar, phases.expand(len(x), -1, -1)), 1)
        padded = nn.functional.pad(block.exogenous, (0, 0, 0, model.horizon))
        found.append((replace(block, calendar=later, exogenous=padded), seen, x))
    return found


def rolled(model: Ensemble, scales: Sequence[Scale], looked: Sequence[Looked], origins: Sequence[int]) -> np.ndarray:
    """Point forecasts after the first n steps, for each n of `origins`: [origins, horizon, rows]."""
    made = []
    with torch.no_grad():
        for member, scale, (block, seen, x) in zip(model, scales, looked, strict=True):
            z, _ = member.network.encode(x, starts=seen.age == 1)
            out = []
            for steps in torch.as_tensor(np.asarray(origins) - 1).split(STEPS_AT_ONCE):
                known = member.known(steps.expand(len(z), -1), block.calendar, block.exogenous)
                raw = member.network.head(z[:, steps], x[:, steps], known)
                arguments, unit = member.arguments(raw, Seen(*(part[:, steps] for part in seen)))
                out.append(scale.undo(member.network.distribution.mean(arguments) * unit))
            made.append(np.concatenate(out, 1))
    return np.moveaxis(np.mean(made, 0), 0, 2)
