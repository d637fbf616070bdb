"""Error against the definition in float64: backend "reference" on the same input and weights."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.cases import Case, Method, Shape
from benchmarks.timing import run


class Error(NamedTuple):
    """membrane: largest absolute error. differing: spikes that differ. rate: mean spike, to show that neurons fire.
    None where the method has no spikes, or does not show its membrane."""

    membrane: float | None
    differing: int | None
    rate: float | None


def _membrane(method: Method, module: nn.Module, x: Tensor) -> Tensor:
    """The output of an operation without spikes, the membrane of a neuron."""
    if hasattr(module, "output"):
        module.output = "membrane"  # pyright: ignore[reportArgumentType]
    return run(method, module, x)


def error(case: Case, method: Method, shape: Shape) -> Error | None:
    """Against the method's twin, or its own module, in float64. None where no twin can have the same weights."""
    if method.foreign and method.twin is None:
        return None
    torch.manual_seed(0)
    x = torch.randn(shape) * case.scale
    module = method.build(shape)
    exact = (method.twin(shape) if method.twin else copy.deepcopy(module)).double()
    if method.twin and not method.foreign:
        exact.load_state_dict(module.state_dict())
    definition = Method("definition", method.build, backend="reference")
    with torch.no_grad():
        differing = rate = membrane = None
        if method.foreign or hasattr(module, "output"):
            mine = run(method, module, x.transpose(0, 1).contiguous() if method.time_first else x)
            mine = mine.transpose(0, 1) if method.time_first else mine
            differing = int((mine != run(definition, exact, x.double())).sum())
            rate = float(mine.mean())
        if not method.foreign:
            difference = _membrane(method, module, x) - _membrane(definition, exact, x.double())
            membrane = float(difference.abs().max())
    return Error(membrane, differing, rate)
