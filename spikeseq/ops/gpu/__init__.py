"""The Triton backend: float32, bfloat16 and float16 on a CUDA device, forward and backward in one pass each.

A program holds the state of a block of channels of one row of the batch in registers and walks along time; the rows it
needs are loaded a tile at once. The forward pass keeps one row of states a tile, the backward pass recomputes the rest.
Forward, LIF, PRF and constant scans round products and sums one by one, as the reference does it; DSN and the way back
fuse them. What does not reset is cut along time where it is long and narrow. Gradients that are to be differentiated
again are taken from the torch backend. With TRITON_INTERPRET=1 the kernels run on the CPU, slowly, when asked for by
name.

Triton is imported when a kernel is first needed.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

_HOMES = {"lif": "membranes", "prf": "membranes", "spike": "pointwise", "dsn": "gated", "conv_dsn": "gated",
          "linear_scan": "linear", "sliding": "pointwise"}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


@cache
def _absent() -> str | None:
    """Why Triton cannot be used, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed; run pip install 'spikeseq[gpu]'"
    triton = import_module("triton")
    if not hasattr(triton, "knobs"):
        return f"expected Triton 3.4 or newer, found {triton.__version__}; run pip install 'spikeseq[gpu]'"
    return None


def interpreted() -> bool:
    """Whether Triton runs kernels on the CPU, in Python."""
    return _absent() is None and import_module("triton").knobs.runtime.interpret


def missing() -> str | None:
    """Why the kernels cannot run here, or None."""
    if _absent() is None and not torch.cuda.is_available() and not interpreted():
        return "no CUDA device found (TRITON_INTERPRET=1 runs the kernels on the CPU, slowly)"
    return _absent()


def refuses(request: Any) -> str | None:
    """Why this request cannot be served, or None."""
    if request.device.type != "cuda" and not (request.by_name and request.device.type == "cpu" and interpreted()):
        return f"it runs on a CUDA device, not on {request.device}"
    if request.dtype != torch.float32:
        return f"its state is float32, not {request.dtype}"
    if not request.by_channel:
        return "its thresholds are one number or one a channel"
    if not request.detach_reset:
        return "the gradient through the reset is an option of 'reference' only"
    if request.varying and request.complex_state:
        return "a complex decay that varies in time has no kernel"
    return None
