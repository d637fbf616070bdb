"""One time step without the price of an operation: a kernel's argument prepared once, four pointers set a step.

An operation checks its arguments, chooses a backend and goes through autograd, which is some fifty microseconds; a step
of a few hundred channels is less than one. A neuron describes its step (`StepPlan`), and as long as its parameters hold
the values they held, the prepared argument serves. The prepared argument belongs to one thread, never to the module.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..checks import unreachable
from .buffers import plain
from .library import CALLS, Extent, Fire, Guard, load, short_kernel

PLAIN = (Tensor, torch.nn.Parameter)  # a subclass may be anything
CHANGED, NOT_FINITE, OK = -1, 0, 1  # what a step kernel returns, as in step.h


@dataclass(frozen=True)
class StepPlan:
    """What the kernel needs besides input and state: coefficients, scalars, flags."""

    kernel: str  # "lif", "prf", "dsn" or "sliding"
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]
    fire: Fire
    history: bool = False  # whether the state is (membrane, last inputs) instead of one tensor


class Prepared:
    """A plan bound to a kernel, with copies of the parameters it was made from."""

    def __init__(self, plan: StepPlan, parameters: Sequence[Tensor], settings: tuple, width: int) -> None:
        self.kernel = short_kernel(f"{plan.kernel}_step")
        self.settings, self.history, self.batch = settings, plan.history, 1
        self.tensors = {name: _own(tensor) for name, tensor in plan.tensors.items()}
        self.call = CALLS[plan.kernel]()
        self.call.e = Extent(1, 1, width, 1, 0)
        self.call.f = plan.fire
        for name, value in (*plan.scalars.items(), *((n, t.data_ptr()) for n, t in self.tensors.items())):
            setattr(self.call, name, value)
        count = len(parameters)
        self.then = tuple(p.detach().clone() for p in parameters)
        self.kinds = tuple((p.dtype, p.shape) for p in parameters)
        self.now_pointers = (ctypes.c_void_p * count)()
        self.then_pointers = (ctypes.c_void_p * count)(*(p.data_ptr() for p in self.then))
        self.sizes = (ctypes.c_int64 * count)(*(p.nbytes for p in self.then))
        pointers = (ctypes.addressof(a) for a in (self.now_pointers, self.then_pointers, self.sizes))
        self.guard = Guard(*pointers, count)
        self.references = ctypes.byref(self.call), ctypes.byref(self.guard)

    def fits(self, parameters: Sequence[Tensor | None], settings: tuple) -> bool:
        """Whether the kernel can compare these parameters with those of then; it is told where they are."""
        if settings != self.settings or len(parameters) != len(self.kinds):
            return False
        now, i = self.now_pointers, 0
        for parameter, (dtype, shape) in zip(parameters, self.kinds):  # noqa: B905 (their lengths were compared)
            if (
                parameter is None or parameter.dtype is not dtype or parameter.shape != shape
                or not parameter.is_cpu or not parameter.is_contiguous()
            ):  # fmt: skip
                return False
            now[i] = parameter.data_ptr()
            i += 1  # noqa: SIM113 (faster than enumerate)
        return True

    def __call__(self, x_t: Tensor, state: Any) -> tuple[int, tuple[Tensor, Any]]:
        """What the kernel said, and spikes and state, which mean nothing unless it said OK."""
        call, batch = self.call, x_t.shape[0]
        membrane, history = state if self.history else (state, None)
        out, end = torch.empty_like(x_t), torch.empty_like(membrane)
        if batch != self.batch:  # reaching into a struct inside the struct is dear
            self.batch = call.e.batch = batch
        call.x, call.out, call.end, call.state = x_t.data_ptr(), out.data_ptr(), end.data_ptr(), membrane.data_ptr()
        if history is None:
            return self.kernel(*self.references), (out, end)
        after = torch.empty_like(history)
        call.history, call.grad_history = history.data_ptr(), after.data_ptr()
        return self.kernel(*self.references), (out, (end, after))


@dataclass
class _Local(threading.local):
    prepared: WeakKeyDictionary[Any, Prepared] = field(default_factory=WeakKeyDictionary)


_local = _Local()


def _own(tensor: Tensor) -> Tensor:
    """A copy as the kernels read it."""
    dtype = torch.complex64 if tensor.is_complex() else torch.float32
    return plain(tensor.detach().to(dtype)).clone()


@cache
def present() -> bool:
    """Whether the kernels are here."""
    return load()[0] is not None


def row(value: float, width: int) -> Tensor:
    """[width] of one number, whatever torch's default dtype and device are."""
    return torch.full((width,), value, dtype=torch.float64, device="cpu").float()


def plain_rows(tensor: Any, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> bool:
    """Whether a kernel can read this tensor as it lies."""
    return (
        type(tensor) in PLAIN and tensor.dtype is dtype and tensor.shape == shape and tensor.is_cpu
        and tensor.is_contiguous() and not tensor.is_neg() and not (dtype.is_complex and tensor.is_conj())
    )  # fmt: skip


def _usable(plan: StepPlan, levels: int | None) -> bool:
    """Whether its numbers are ones that the operation takes; only the membrane's are looked at in each step."""
    others = (tensor for name, tensor in plan.tensors.items() if name not in ("threshold", "rho"))
    return unreachable(plan.tensors["threshold"], levels) is None and all(bool(t.isfinite().all()) for t in others)


def prepared_step(neuron: Any, x_t: Tensor, state: Any) -> tuple[Tensor, Any] | None:
    """Spikes and state by the neuron's prepared step on this thread, made anew where its parameters have changed.

    None: no kernel serves, or it left a state that is not finite; the operation will say why.
    """
    parameters = (*neuron._parameters.values(), *neuron._buffers.values())
    settings = neuron._step_settings()
    prepared = _local.prepared.get(neuron)
    if prepared is not None and prepared.fits(parameters, settings):
        said, done = prepared(x_t, state)
        if said != CHANGED:
            return done if said == OK else None
    if not present() or not all(p is not None and plain_rows(p, p.shape) for p in parameters):
        return None
    plan = neuron._step_plan()
    if plan is None or not _usable(plan, neuron.levels):
        return None
    prepared = _local.prepared[neuron] = Prepared(plan, parameters, settings, neuron.width)
    prepared.fits(parameters, settings)
    said, done = prepared(x_t, state)
    return done if said == OK else None
