"""The compiled library: found, loaded, and each kernel bound to the best instruction set of this processor."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from .build import LIBRARY, fingerprint, variants

_HERE = os.path.dirname(__file__)
SERIAL_BELOW = 1 << 15  # elements a thread, as in torch: to wake another for less costs more than it saves


class Extent(ctypes.Structure):
    _fields_ = [("batch", c_int64), ("time", c_int64), ("width", c_int64), ("threads", c_int32), ("stream", c_int32),
                ("apart", c_int32)]  # fmt: skip


class Guard(ctypes.Structure):
    """What a step kernel compares: `count` stretches of memory now, and as they were."""

    _fields_ = [("now", c_void_p), ("then", c_void_p), ("bytes", c_void_p), ("count", c_int64)]


class Fire(ctypes.Structure):
    _fields_ = [("kind", c_int32), ("strict", c_int32), ("membrane", c_int32), ("parameter", c_float)]


def _call(*own: tuple[str, type], fire: bool, pointers: str) -> type[ctypes.Structure]:
    """A kernel's argument, laid out like its struct in C: extent, spike function, own scalars, pointers."""
    fields: list[tuple[str, type]] = [("e", Extent)]
    if fire:
        fields.append(("f", Fire))
    fields += [*own, *((name, c_void_p) for name in pointers.split())]
    return type("Call", (ctypes.Structure,), {"_fields_": fields})


CALLS: dict[str, type[ctypes.Structure]] = {
    "lif": _call(
        ("reset", c_int32), fire=True,
        pointers="x decay threshold rho state checkpoints_in grad_out grad_end starts out end checkpoints grad_x "
                 "grad_state grad_decay grad_threshold",
    ),
    "prf": _call(
        ("reset", c_int32), fire=True,
        pointers="x decay gain threshold rho state checkpoints_in grad_out grad_end starts out end "
                 "checkpoints grad_x grad_state grad_decay grad_gain grad_threshold",
    ),
    "dsn": _call(
        ("tau", c_float), ("lags", c_int32), fire=True,
        pointers="x gate threshold state checkpoints_in grad_out grad_end starts out end checkpoints grad_x grad_gate "
                 "grad_state grad_threshold weight bias history reach ahead grad_history grad_weight grad_bias",
    ),
    "spike": _call(fire=True, pointers="x threshold grad_out out end grad_x grad_threshold"),
    "scan": _call(
        fire=False,
        pointers="x decay state states grad_out starts out end grad_x grad_decay grad_state grad_direct grad_crossed",
    ),
    "sliding": _call(
        ("lags", c_int32), ("clear", c_int32), fire=True,
        pointers="x weight bias state grad_out reach out grad_x grad_state grad_weight grad_bias threshold end",
    ),
}  # fmt: skip
KERNELS = {
    "lif": "lif",
    "prf": "prf",
    "dsn": "dsn",
    "varying_scan": "scan",
    "complex_scan": "scan",
    "mixed_scan": "scan",
    "sliding": "sliding",
    "spike": "spike",
}


def made_from(library: ctypes.CDLL) -> str:
    """The fingerprint of the sources that a library was built from; empty for one that does not say."""
    try:
        sources = library.spikeseq_sources
    except AttributeError:
        return ""
    sources.restype = ctypes.c_char_p
    return sources().decode()


def _borrow_threads(library: ctypes.CDLL) -> None:
    """Let the kernels run on the OpenMP threads that torch runs on, if it does."""
    try:
        pool = ctypes.CDLL(None).GOMP_parallel  # of GNU's library, and of the others for its sake
    except AttributeError:  # no OpenMP here: threads.c starts threads of its own
        return
    library.spikeseq_borrow.argtypes, library.spikeseq_borrow.restype = [c_void_p], None
    library.spikeseq_borrow(ctypes.cast(pool, c_void_p))


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """The library and its instruction set, or None and the reason why it is not here."""
    path = os.path.join(_HERE, LIBRARY)
    if not os.path.exists(path):
        return None, f"{LIBRARY} was not built (no C compiler at installation?); run python {_HERE}/build.py"
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        return None, f"{LIBRARY} does not load: {error}"
    if made_from(library) != fingerprint(Path(_HERE)):
        return None, f"{LIBRARY} was built from other sources than those beside it; run python {_HERE}/build.py"
    _borrow_threads(library)
    has = library.spikeseq_has
    has.argtypes = [ctypes.c_char_p]
    wanted = os.environ.get("SPIKESEQ_ISA")
    if wanted is not None and wanted not in variants():
        return None, f"SPIKESEQ_ISA={wanted!r}: expected one of {tuple(variants())}"
    for variant in [wanted] if wanted else variants():
        if has(variant.encode()):
            return library, variant
    return None, f"this processor does not run {wanted}"


@cache
def kernel(name: str):
    library, variant = load()
    function = getattr(library, f"{name}_{variant}")
    function.restype = None
    return function


@cache
def short_kernel(name: str):
    """A kernel that returns a number and keeps the interpreter locked: its call is shorter than giving that away."""
    library, variant = load()
    assert library is not None
    return getattr(ctypes.PyDLL(library._name), f"{name}_{variant}")


def run(name: str, x: Tensor, scalars: dict, fire: Fire | None, /, **tensors: Tensor | None) -> None:
    """Call a kernel (`lif_forward`, ...) with `x`'s extent. Every tensor must be contiguous; None is a null pointer.

    ctypes releases the interpreter's lock for the length of the call.
    """
    batch, time = x.shape[:2]
    width = x.shape[2] * (2 if x.is_complex() else 1)
    elements = batch * time * width
    threads = max(1, min(torch.get_num_threads(), elements // SERIAL_BELOW))
    call = CALLS[KERNELS[name.rpartition("_")[0]]]()
    call.e = Extent(batch, time, width, threads, 0)
    if fire is not None:
        call.f = fire
    for key, value in scalars.items():
        setattr(call, key, value)
    for key, tensor in tensors.items():
        if tensor is not None:
            assert tensor.is_contiguous(), key
            pointer = tensor.data_ptr()
            if not pointer and tensor.numel():
                raise RuntimeError(f"{name}: expected {key} in memory, got a {type(tensor).__name__} that has none")
            setattr(call, key, pointer)
    kernel(name)(ctypes.byref(call))
