"""Clocks and interleaved rounds.

With one thread everything runs on the calling thread (the kernels, and torch's backward pass of CPU tensors), so
`time.thread_time` leaves out what other processes took; the figure is the median. With more threads the figure is the
minimum of the wall clock.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

import spikeseq
from benchmarks import machine
from benchmarks.cases import Case, Method

Task = Callable[[], Any]
Key = TypeVar("Key", bound=Hashable)
LEAST = 3  # rounds of the slowest task
ROOF_BYTES = {"clone": 8, "copy_": 8, "add": 12}  # an element, float32


def clock(threads: int) -> Callable[[], float]:
    return time.thread_time if threads == 1 else time.perf_counter


def summary(seconds: list[float], threads: int) -> float:
    return statistics.median(seconds) if threads == 1 else min(seconds)


@contextmanager
def no_collector():
    """Python's garbage collector off, as in timeit: it would run at random inside one method or another."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def interleaved(
    tasks: Mapping[Key, Task], rounds: int, seconds: float, threads: int, title: str = ""
) -> dict[Key, list[float]]:
    """Seconds of each task in each of its rounds. A round runs each task once, in an order that turns by one, and
    settles the allocator before each.

    The first round warms up. From it comes each task's number of rounds: as many as fit into `seconds`, at most
    `rounds`, at least three. A task whose first run alone is longer than `seconds` keeps it as one of its three.
    """
    now = clock(threads)
    taken: dict[Key, list[float]] = {key: [] for key in tasks}
    wanted: dict[Key, int] = {}
    order = list(tasks)
    with no_collector():
        for turn in tqdm(range(rounds + 1), desc=title, leave=False, disable=None):
            for key in order[turn % len(order) :] + order[: turn % len(order)]:
                if key in wanted and len(taken[key]) >= wanted[key]:
                    continue
                machine.settle()
                began = now()
                tasks[key]()
                spent = now() - began
                if key in wanted or spent > seconds:
                    taken[key].append(spent)
                if key not in wanted:
                    wanted[key] = max(min(rounds, LEAST), min(rounds, int(seconds / max(spent, 1e-9))))
    return taken


def roofs(x: Tensor) -> dict[str, Task]:
    """What the machine can do with as many bytes: a fresh copy, a copy into warm memory, a sum into warm memory."""
    x, other = x.detach(), torch.ones_like(x)
    warm = torch.zeros_like(x)
    return {"clone": x.clone, "copy_": lambda: warm.copy_(x), "add": lambda: torch.add(x, other, out=warm)}


def run(method: Method, module: nn.Module, x: Tensor) -> Tensor:
    with spikeseq.backend(method.backend):
        return module(x)[0]


def passes(case: Case, method: Method, module: nn.Module, x: Tensor) -> dict[str, Task]:
    """Forward with the graph that training needs, and forward + backward to x and every parameter.

    Both include giving the memory back.
    """
    x = (x.transpose(0, 1) if method.time_first else x).detach().clone(memory_format=torch.contiguous_format)
    inputs = [x.requires_grad_(), *(p for p in module.parameters() if p.requires_grad)]
    above = torch.randn(x.shape, dtype=case.output, device=x.device)

    def forward() -> None:
        run(method, module, x)

    def both() -> None:
        torch.autograd.grad(run(method, module, x), inputs, above)

    return {"forward": forward, "forward+backward": both}
