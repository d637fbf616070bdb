"""Which backend serves a request, and `backends()` to see which are here.

A backend is a module with functions named like the operations. "auto" takes the first of `ORDER` that can serve;
a backend asked for by name serves or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import torch

from . import fft, gpu, native, reference, scan

ORDER = ("triton", "native", "torch")
_forced: ContextVar[str | None] = ContextVar("spikeseq_backend", default=None)


@dataclass(frozen=True)
class Request:
    """What a backend needs to know to say whether it can serve."""

    op: str
    device: torch.device
    dtype: torch.dtype
    reset: str = "none"
    detach_reset: bool = True
    starts: bool = False
    varying: bool = False
    complex_state: bool = False
    levels: int | None = None
    by_channel: bool = True  # the threshold is one number, or one a channel
    by_name: bool = False  # asked for by name, not by "auto"


class BackendError(RuntimeError):
    """The backend asked for by name is not here or cannot serve this request."""


def _torch_refuses(request: Request) -> str | None:
    return None if request.detach_reset else "the gradient through the reset is an option of 'reference' only"


def _fft_refuses(request: Request) -> str | None:
    if request.op not in ("linear_scan", "lif", "prf"):
        return f"the papers give no FFT form of {request.op}"
    if request.reset == "hard":
        return "the decoupled reset is soft"
    if request.starts or request.varying:
        return "a convolution needs one constant decay: no starts, no time-varying decay"
    if request.levels is not None:
        return "Algorithm 2 is for binary spikes"
    return _torch_refuses(request)


@dataclass(frozen=True)
class Backend:
    module: Any
    refuses: Callable[[Request], str | None]
    about: str
    missing: Callable[[], str | None] = lambda: None


REGISTRY: dict[str, Backend] = {
    "reference": Backend(reference, lambda _request: None, "the definition: a plain torch loop, never chosen by auto"),
    "torch": Backend(scan, _torch_refuses, "any device and dtype"),
    "native": Backend(native, native.refuses, "C kernels: CPU, float32", native.missing),
    "triton": Backend(gpu, gpu.refuses, "Triton kernels: CUDA, float32 and narrower", gpu.missing),
    "fft": Backend(fft, _fft_refuses, "the papers' form, never chosen by auto"),
}


def choose(request: Request) -> Any:
    """The backend module for this request. Raises BackendError where a named backend cannot serve."""
    forced = _forced.get()
    if forced is not None:
        entry = REGISTRY[forced]
        reason = entry.missing() or entry.refuses(replace(request, by_name=True))
        if reason:
            raise BackendError(f"backend {forced!r} cannot serve {request.op}: {reason}")
        return entry.module
    for name in ORDER:
        entry = REGISTRY[name]
        if entry.refuses(request) is None and entry.missing() is None:  # in this order: no look for a GPU on CPU work
            return entry.module
    raise BackendError(f"no backend can serve {request}; ask for one by name, with spikeseq.backend('reference')")


def widened(run: Any, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`x` in the dtype of the arithmetic, or as it is for a backend that reads narrow values itself."""
    return x if run is gpu else x.to(dtype)


def native_wanted() -> bool:
    """Whether "auto" or the user asks for the native backend where it can serve."""
    return _forced.get() in (None, "native")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run the operations inside the `with` block on one backend, or raise BackendError where it cannot serve.

    `name` is "reference", "torch", "native", "triton", "fft", or "auto" to undo an outer choice.
    """
    if name != "auto" and name not in REGISTRY:
        raise BackendError(f"unknown backend {name!r}: expected 'auto' or one of {tuple(REGISTRY)}")
    token = _forced.set(None if name == "auto" else name)
    try:
        yield
    finally:
        _forced.reset(token)


@dataclass(frozen=True)
class BackendReport:
    """What `backends()` found: name -> None if it is here, else the reason why it is not."""

    reasons: dict[str, str | None]

    def __getitem__(self, name: str) -> str | None:
        return self.reasons[name]

    def __repr__(self) -> str:
        lines = []
        for name, reason in self.reasons.items():
            rank = f"auto {ORDER.index(name) + 1}" if name in ORDER else "by name"
            lines.append(f"{name:<10} {'here' if reason is None else 'missing':<8} {rank:<8} "
                         f"{REGISTRY[name].about}{'' if reason is None else ': ' + reason}")  # fmt: skip
        return "\n".join(lines)


def backends() -> BackendReport:
    """Which backends are here and, if one is not, why. Its repr is a table."""
    return BackendReport({name: entry.missing() for name, entry in REGISTRY.items()})
