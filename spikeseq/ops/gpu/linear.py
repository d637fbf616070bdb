"""Linear scans: neurons that never reset, read out as their membrane."""

from __future__ import annotations

import torch
from torch import Tensor

from ..surrogate import atan
from .gated import varying_scan
from .membranes import lif, prf


def linear_scan(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None) -> tuple[Tensor, ...]:
    if decay.ndim == 3:
        return varying_scan(x, decay, state, starts)
    ones = torch.ones(decay.shape, dtype=torch.float32, device=decay.device)
    if not decay.is_complex():
        return lif(x, decay, ones, ones, state, starts, atan(), "none", False, "membrane", True)
    return prf(x, decay, ones, ones, ones, state, starts, atan(), "none", False, "states", True)
