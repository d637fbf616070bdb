"""From a plan to rows, one row a measurement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from benchmarks import accuracy, machine, memory, scaling, timing
from benchmarks.cases import CASES, Case, Method, Shape, absent

Row = dict[str, Any]
SWEEP_CASES = ("LIF", "PRF", "DSN", "PSN", "SlidingPSN")


@dataclass(frozen=True)
class Plan:
    """shapes: each case on each. sweep: shapes of growing T, for the sweep's cases. memory, accuracy: shape, or None
    for none. scaling: shape on which the kernels run with one thread and with `threads`, where that is more. rounds: at
    most. seconds: a task's share of a group. limit: seconds above which a pass is not tried. methods: names to keep,
    None for all."""

    shapes: tuple[Shape, ...]
    cases: tuple[str, ...] = tuple(CASES)
    sweep: tuple[Shape, ...] = ()
    memory: Shape | None = None
    accuracy: Shape | None = None
    scaling: Shape | None = None
    rounds: int = 15
    seconds: float = 2.0
    limit: float = 10.0
    threads: int = 1
    methods: tuple[str, ...] | None = None

    def methods_of(self, case: Case) -> tuple[Method, ...]:
        return tuple(m for m in case.methods if self.methods is None or m.name in self.methods)

    def scaling_methods(self, case: Case) -> tuple[Method, ...]:
        """Those whose threads are ours, or none."""
        if self.threads == 1:
            return ()
        return tuple(m for m in self.methods_of(case) if m.backend == "native" and absent(m) is None)

    def sweep_cases(self) -> tuple[str, ...]:
        return tuple(name for name in self.cases if name in SWEEP_CASES)


def _row(part: str, case: str, method: str, shape: Shape, measure: str, **values: Any) -> Row:
    return {"part": part, "case": case, "method": method, **shape._asdict(), "measure": measure, **values}


def _too_large(method: Method, shape: Shape) -> str | None:
    needed, there = method.bytes_needed(shape), machine.memory_bytes()
    if needed > there / 2:
        return f"needs about {needed / 2**30:.1f} GiB, more than half of this machine's {there / 2**30:.0f} GiB"
    return None


def predicted(times: list[float]) -> float:
    """Seconds at twice the length, from those at T, T/2, ...: it grows as it last did, at least twofold."""
    if not times:
        return 0.0
    return times[-1] * max(2.0, times[-1] / times[-2] if len(times) > 1 else 2.0)


def times(plan: Plan, part: str, case: Case, shape: Shape, refused: dict[str, str]) -> Iterator[Row]:
    """Rows of the roofs and of each method on one shape, all in the same rounds. refused: method -> why it is left out.

    `ratio` is the method's time over that of `x.clone()` on the same shape: 1 is the cost of reading the input once and
    writing a fresh tensor once. `ratio_warm` is the same over a copy into warm memory: unlike clone it asks for no new
    pages, whose price depends on what the allocator and the machine did before. ms_least, ms_most: the spread.
    """
    torch.manual_seed(0)
    x = torch.randn(shape).mul_(case.scale)
    tasks: dict[tuple[str, str], timing.Task] = {(name, "forward"): f for name, f in timing.roofs(x).items()}
    for method in plan.methods_of(case):
        reason = refused.get(method.name) or absent(method) or _too_large(method, shape)
        if reason:
            yield _row(part, case.name, method.name, shape, "forward+backward", skipped=reason)
            continue
        ways = timing.passes(case, method, method.build(shape), x)
        tasks |= {(method.name, measure): way for measure, way in ways.items()}
    taken = timing.interleaved(tasks, plan.rounds, plan.seconds, plan.threads, f"{case.name}, {shape}")
    fresh, warm = (timing.summary(taken[roof, "forward"], plan.threads) for roof in ("clone", "copy_"))
    for (name, measure), seconds in taken.items():
        spent = timing.summary(seconds, plan.threads)
        if name in timing.ROOF_BYTES:
            moved = timing.ROOF_BYTES[name]
        else:
            moved = case.forward_bytes if measure == "forward" else case.both_bytes
        yield _row(
            part,
            case.name,
            name,
            shape,
            measure,
            ratio=spent / fresh,
            ratio_warm=spent / warm,
            ms=1e3 * spent,
            ms_least=1e3 * min(seconds),
            ms_most=1e3 * max(seconds),
            gb_s=moved * shape.elements / spent / 1e9,
            rounds=len(seconds),
            statistic="median thread time" if plan.threads == 1 else "minimum wall",
        )


def _sweep(plan: Plan, name: str, bar: tqdm) -> Iterator[Row]:
    """Times over growing T; a method is left out where its time at half the length foretells more than the limit."""
    history: dict[str, list[float]] = {}
    for shape in plan.sweep:
        refused = {}
        for method, past in history.items():
            ahead = predicted(past)
            if ahead > plan.limit:
                refused[method] = f"would take about {ahead:.0f} s a pass, the limit is {plan.limit:g} s"
                past.append(ahead)
        for row in times(plan, "sweep", CASES[name], shape, refused):
            if row["measure"] == "forward+backward" and "ms" in row:
                history.setdefault(row["method"], []).append(row["ms"] / 1e3)
            yield row
        bar.update()


def _memory_row(plan: Plan, case: Case, method: Method, shape: Shape) -> Row:
    reason = absent(method) or _too_large(method, shape)
    if reason is None:
        try:
            extra = memory.measure(case.name, method.name, shape, plan.threads)
            return _row("memory", case.name, method.name, shape, "peak memory", extra_bytes=extra,
                        ratio=extra / (4 * shape.elements), by=memory.BY)  # fmt: skip
        except RuntimeError as failure:
            reason = str(failure)
    return _row("memory", case.name, method.name, shape, "peak memory", skipped=reason)


def _accuracy_row(case: Case, method: Method, shape: Shape) -> Row:
    reason = absent(method)
    found = None if reason else accuracy.error(case, method, shape)
    if found is None:
        reason = reason or "its weights cannot be ours"
        return _row("accuracy", case.name, method.name, shape, "error", skipped=reason)
    return _row("accuracy", case.name, method.name, shape, "error", **found._asdict(), of=shape.elements)


def _scaling(plan: Plan, case: Case, shape: Shape) -> Iterator[Row]:
    found = scaling.seconds(case, plan.scaling_methods(case), shape, plan.threads, plan.rounds, plan.seconds)
    for (method, measure), (one, several) in found.items():
        yield _row("scaling", case.name, method, shape, measure, ms=1e3 * several, ms_one=1e3 * one,
                   speedup=one / several, statistic="minimum wall")  # fmt: skip


def measure(plan: Plan) -> Iterator[Row]:
    """All rows of the plan, in order, each as soon as it is known."""
    torch.set_num_threads(plan.threads)
    facts = machine.facts(plan.threads)
    cases = [CASES[name] for name in plan.cases]
    total = len(cases) * (len(plan.shapes) + bool(plan.memory) + bool(plan.accuracy))
    total += len(plan.sweep_cases()) * len(plan.sweep)
    total += sum(bool(plan.scaling and plan.scaling_methods(case)) for case in cases)
    with tqdm(total=total, desc=f"malloc {facts['malloc']}", unit="group", smoothing=0) as bar:
        for row in _rows(plan, cases, bar):
            yield facts | row


def _rows(plan: Plan, cases: list[Case], bar: tqdm) -> Iterator[Row]:
    for case in cases:
        if plan.accuracy:
            yield from (_accuracy_row(case, method, plan.accuracy) for method in plan.methods_of(case))
            bar.update()
        if plan.memory:
            yield from (_memory_row(plan, case, method, plan.memory) for method in plan.methods_of(case))
            bar.update()
    for shape in plan.shapes:
        for case in cases:
            yield from times(plan, "shapes", case, shape, {})
            bar.update()
    for case in cases:
        if plan.scaling and plan.scaling_methods(case):
            yield from _scaling(plan, case, plan.scaling)
            bar.update()
    for name in plan.sweep_cases():
        yield from _sweep(plan, name, bar)
