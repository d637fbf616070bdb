"""The native backend: C kernels for float32 on a CPU, forward and backward in one pass each.

Kernels save the input and one row of states every 32 steps; the backward pass recomputes the rest. They round as the
reference does, so LIF and PRF agree with it bit for bit (except that values below 1.2e-38 are flushed to zero: a
silent membrane decays into them, and they cost a hundred times a normal product). Gradients that are to be
differentiated again are taken from the torch backend.
"""

from __future__ import annotations

from typing import Any

import torch

from . import library
from .gated import conv_dsn as conv_dsn
from .gated import dsn as dsn
from .linear import linear_scan as linear_scan
from .linear import sliding as sliding
from .membranes import lif as lif
from .membranes import prf as prf
from .spikes import spike as spike
from .spikes import spike_few as spike_few


def missing() -> str | None:
    """Why the kernels are not here, or None."""
    found, reason = library.load()
    return None if found is not None else reason


def refuses(request: Any) -> str | None:
    """Why this request cannot be served, or None."""
    if request.device.type != "cpu" or request.dtype != torch.float32:
        return f"it runs float32 on a CPU, not {request.dtype} on {request.device}"
    if not request.by_channel:
        return "its thresholds are one number or one a channel"
    if not request.detach_reset:
        return "the gradient through the reset is an option of 'reference' only"
    if request.varying and request.complex_state:
        return "a complex decay that varies in time has no kernel"
    return None
