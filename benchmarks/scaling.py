"""What further threads gain: the kernels with one thread and with several, in the same rounds, by the wall clock."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks import timing
from benchmarks.cases import Case, Method, Shape
from benchmarks.timing import Task


def pinned(task: Task, threads: int) -> Task:
    def run() -> None:
        torch.set_num_threads(threads)
        task()

    return run


def seconds(
    case: Case, methods: Iterable[Method], shape: Shape, threads: int, rounds: int, limit: float
) -> dict[tuple[str, str], tuple[float, float]]:
    """(method, measure) -> least seconds with one thread and with `threads`; `clone` says what the memory gives."""
    torch.manual_seed(0)
    x = torch.randn(shape).mul_(case.scale)
    tasks: dict[tuple[str, str], Task] = {("clone", "forward"): x.clone}
    for method in methods:
        ways = timing.passes(case, method, method.build(shape), x)
        tasks |= {(method.name, measure): way for measure, way in ways.items()}
    both = {(*key, n): pinned(task, n) for key, task in tasks.items() for n in (1, threads)}
    taken = timing.interleaved(both, rounds, limit, threads, f"{case.name}, {shape}, 1 and {threads} threads")
    torch.set_num_threads(threads)
    return {key: (min(taken[(*key, 1)]), min(taken[(*key, threads)])) for key in tasks}
