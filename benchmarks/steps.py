"""One time step of each neuron, without gradients: what a stream or an agent pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.cases import Shape
from spikeseq import DSN, LIF, PRF, Neuron, SlidingPSN

CALLS = 500  # as one pass
NEURONS: dict[str, Callable[[int], Neuron]] = {n.__name__: n for n in (LIF, PRF, DSN, SlidingPSN)}


def walk(neuron: Neuron, x_t: Tensor) -> timing.Task:
    def run() -> None:
        state = None
        with torch.no_grad():
            for _ in range(CALLS):
                _, state = neuron.step(x_t, state)

    return run


def repeat(call: Callable[..., Tensor], *arguments: Tensor) -> timing.Task:
    def run() -> None:
        for _ in range(CALLS):
            call(*arguments)

    return run


def rows(width: int, rounds: int, seconds: float, threads: int) -> Iterator[dict[str, Any]]:
    """Microseconds a step for batch 1 and 16, beside `torch.add` and a Linear layer of the same width."""
    for batch in (1, 16):
        torch.manual_seed(0)
        x_t, linear = torch.randn(batch, width), nn.Linear(width, width).requires_grad_(False)
        tasks = {name: walk(kind(width), x_t) for name, kind in NEURONS.items()}
        tasks |= {"Linear": repeat(linear, x_t), "add": repeat(torch.add, x_t, x_t)}
        taken = timing.interleaved(tasks, rounds, seconds, threads, f"steps, batch {batch}")
        for name, times in taken.items():
            us = [1e6 * t / CALLS for t in (timing.summary(times, threads), min(times), max(times))]
            shape = Shape(batch, 1, width)._asdict()
            yield {"part": "step", "case": name, "method": "step", **shape, "measure": "step",
                   "us": us[0], "us_least": us[1], "us_most": us[2]}  # fmt: skip
