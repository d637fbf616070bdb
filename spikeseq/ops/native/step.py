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

from .library import CALLS, Extent, Fire, load


@dataclass(frozen=True)
class StepPlan:
    """What the kernel needs besides input and state: coefficients as float32 tensors, scalars, flags."""

    kernel: str  # "lif", "prf" or "dsn"
    tensors: dict[str, Tensor]
    scalars: dict[str, Any]
    fire: Fire
    lags: int = 0  # of the convolution: where there is one, the state is (membrane, history)


class Prepared:
    """A plan bound to a kernel, with copies of the parameters it was made from."""

    def __init__(self, plan: StepPlan, parameters: Sequence[Tensor], settings: tuple, width: int) -> None:
        library, variant = load()
        # the lock stays held: the call is shorter than giving the lock away
        holding = ctypes.PyDLL(library._name)  # pyright: ignore[reportOptionalMemberAccess]
        self.kernel = getattr(holding, f"{plan.kernel}_step_{variant}")
        self.same = holding.spikeseq_same
        self.settings, self.lags, self.batch = settings, plan.lags, 1
        self.tensors = {name: t.detach().float().contiguous().clone() for name, t in plan.tensors.items()}
        if plan.kernel == "prf":
            self.tensors["checkpoints"] = torch.empty(2, width)
        self.call = CALLS[plan.kernel]()
        self.call.e = Extent(1, 1, width, 1, 0)
        self.call.f = plan.fire
        for name, value in (*plan.scalars.items(), *((n, t.data_ptr()) for n, t in self.tensors.items())):
            setattr(self.call, name, value)
        self.reference = ctypes.byref(self.call)
        count = len(parameters)
        self.then = tuple(p.detach().clone() for p in parameters)
        self.now_pointers = (ctypes.c_void_p * count)()
        self.then_pointers = (ctypes.c_void_p * count)(*(p.data_ptr() for p in self.then))
        self.sizes = (ctypes.c_int64 * count)(*(p.nbytes for p in self.then))
        self.reach: dict[int, Tensor] = {}

    def still_holds(self, parameters: Sequence[Tensor], settings: tuple) -> bool:
        if settings != self.settings:
            return False
        for i, (parameter, then) in enumerate(zip(parameters, self.then, strict=True)):
            alike = parameter.dtype == then.dtype and parameter.shape == then.shape
            if not (alike and parameter.is_cpu and parameter.is_contiguous()):
                return False
            self.now_pointers[i] = parameter.data_ptr()
        return bool(self.same(self.now_pointers, self.then_pointers, self.sizes, len(parameters)))

    def __call__(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any] | None:
        """Spikes and state, or None where the state left behind is not finite: the operation will say why."""
        call, lags, batch = self.call, self.lags, x_t.shape[0]
        membrane, history = state if lags else (state, None)
        out, end = torch.empty_like(x_t), torch.empty_like(membrane)
        if batch != self.batch:  # reaching into a struct inside the struct is dear
            self.batch = call.e.batch = batch
        call.x, call.out, call.end, call.state = x_t.data_ptr(), out.data_ptr(), end.data_ptr(), membrane.data_ptr()
        if lags:
            call.reach = self._reach(batch).data_ptr()
        if history is None:
            return (out, end) if self.kernel(self.reference) else None
        after = torch.empty_like(history)
        call.history, call.grad_history = history.data_ptr(), after.data_ptr()
        return (out, (end, after)) if self.kernel(self.reference) else None

    def _reach(self, batch: int) -> Tensor:
        if batch not in self.reach:
            self.reach = {batch: torch.full((batch,), self.lags - 1, dtype=torch.int32)}
        return self.reach[batch]


@dataclass
class _Local(threading.local):
    prepared: WeakKeyDictionary[Any, Prepared] = field(default_factory=WeakKeyDictionary)


_local = _Local()


@cache
def _present() -> bool:
    return load()[0] is not None


def plain_rows(tensor: Any, *shape: int, dtype: torch.dtype = torch.float32) -> bool:
    """Whether a kernel can read this tensor as it lies."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.dtype is dtype and tensor.shape == shape
        and tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg() and not tensor.is_conj()
    )  # fmt: skip


def prepared_for(neuron: Any, parameters: Sequence[Tensor], settings: tuple, make: Any) -> Prepared | None:
    """The prepared step of this neuron on this thread, made anew by `make()` where its parameters have changed."""
    if not _present():
        return None
    prepared = _local.prepared.get(neuron)
    if prepared is None or not prepared.still_holds(parameters, settings):
        if not all(plain_rows(p, *p.shape) for p in parameters):
            return None
        plan = make()
        if plan is None:
            return None
        prepared = _local.prepared[neuron] = Prepared(plan, parameters, settings, neuron.width)
    return prepared
