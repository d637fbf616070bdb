"""Where the time of a backbone goes: Linear layers, neurons, norms, and the rest (residual sums, Python)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from benchmarks import timing
from benchmarks.cases import Shape
from spikeseq import Backbone, Neuron
from spikeseq.blocks.norm import Affine
from spikeseq.blocks.sdtcm import SpatialNeuron

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "Linear": (nn.Linear,),
    "neurons": (Neuron,),
    "spatial neurons": (SpatialNeuron,),
    "norms": (nn.BatchNorm1d, nn.LayerNorm, Affine),
}
NEURONS = ("LIF", "PRF", "DSN")
STEPS = 100  # of a stream, as one pass


@contextmanager
def clocked(model: nn.Module, now: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Seconds spent in modules of each kind while the block runs, forward, backward and `step` together."""
    spent = dict.fromkeys(KINDS, 0.0)
    began: list[float] = []  # of the outermost call, forward; of a module's share of the backward pass

    def timed(call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if began:  # a neuron's step may call its forward
                return call(*arguments, **options)
            began.append(now())
            try:
                return call(*arguments, **options)
            finally:
                spent[kind] += now() - began.pop()

        return run

    found = [(kind, module) for module in model.modules() for kind, types in KINDS.items() if isinstance(module, types)]
    with ExitStack() as stack:
        # on the classes: a neuron that has a forward of its own takes no prepared step
        for kind, owner in {(kind, type(module)) for kind, module in found}:
            for name in ("forward", "step"):
                if hasattr(owner, name):
                    stack.enter_context(patch.object(owner, name, timed(getattr(owner, name), kind)))
        for kind, module in found:

            def enter(*_: Any) -> None:
                began.append(now())

            def leave(*_: Any, kind: str = kind) -> None:
                spent[kind] += now() - began.pop()

            stack.callback(module.register_full_backward_pre_hook(enter).remove)
            stack.callback(module.register_full_backward_hook(leave).remove)
        yield spent


def training_pass(neuron: str, shape: Shape, depth: int) -> tuple[Backbone, Callable[[], None]]:
    """Forward and backward to x and every parameter."""
    torch.manual_seed(0)
    backbone = Backbone(shape.width, depth, neuron=neuron)
    x, above = torch.randn(shape).requires_grad_(), torch.randn(shape)

    def run() -> None:
        torch.autograd.grad(backbone(x)[0], [x, *backbone.parameters()], above)

    return backbone, run


def streaming_pass(neuron: str, shape: Shape, depth: int) -> tuple[Backbone, Callable[[], None]]:
    """`shape.time` steps without gradients of the folded backbone."""
    torch.manual_seed(0)
    backbone, x = Backbone(shape.width, depth, neuron=neuron).fold(), torch.randn(shape)

    def run() -> None:
        state = None
        with torch.no_grad():
            for x_t in x.unbind(1):
                _, state = backbone.step(x_t, state)

    return backbone, run


def rows(shape: Shape, depth: int, rounds: int, seconds: float, threads: int) -> Iterator[dict[str, Any]]:
    """Milliseconds of the whole pass, with no clock inside, and the share of each kind. A stream's row is one step."""
    streams = [Shape(batch, STEPS, shape.width) for batch in (1, 16)]
    for make, size in ((training_pass, shape), *((streaming_pass, stream) for stream in streams)):
        for neuron in NEURONS:
            backbone, run = make(neuron, size, depth)
            shared: list[dict[str, float]] = []

            def watched(run=run, backbone=backbone, shared=shared) -> None:
                now = timing.clock(threads)
                with clocked(backbone, now) as spent:
                    began = now()
                    run()
                    whole = now() - began
                shared.append({kind: s / whole for kind, s in spent.items()})

            tasks = {"plain": run, "watched": watched}
            taken = timing.interleaved(tasks, rounds, seconds, threads, f"{neuron}, {size}")
            steps = size.time if make is streaming_pass else 1
            del shared[0]  # it warmed up
            middle = {kind: statistics.median(shares[kind] for shares in shared) for kind in KINDS}
            yield {
                "part": "profile", "case": neuron, "method": f"depth {depth}", **size._asdict(),
                "measure": "step" if make is streaming_pass else "forward+backward",
                "ms": 1e3 * timing.summary(taken["plain"], threads) / steps,
                **middle, "rest": 1 - sum(middle.values()),
            }  # fmt: skip
