"""`python -m benchmarks ops`: time, memory and accuracy of every operation beside the machine's roofs and peers.

Each allocator setting runs in a process of its own. Rows go to a JSON-lines file as they are measured; the table and
the plot are made from them and stand beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a file: what is importable then is this folder, not the checkout
    sys.path[0] = str(ROOT)

from benchmarks import machine, report  # noqa: E402
from benchmarks.cases import CASES, Shape  # noqa: E402
from benchmarks.measure import Plan, measure  # noqa: E402
from benchmarks.plot import time_against_length  # noqa: E402

OUT = Path("runs/bench/ops.jsonl")
FULL = Plan(
    shapes=(Shape(16, 1024, 256), Shape(4, 4096, 128), Shape(16, 4096, 256)),
    sweep=tuple(Shape(4, 128 << i, 128) for i in range(9)),  # 128 ... 32768
    memory=Shape(16, 1024, 256),
    accuracy=Shape(2, 2048, 32),
    scaling=Shape(16, 4096, 256),
)
QUICK = Plan(
    shapes=(Shape(4, 512, 128),),
    sweep=tuple(Shape(4, 128 << i, 128) for i in range(3)),
    accuracy=Shape(2, 256, 16),
    scaling=Shape(16, 512, 128),
    rounds=3,
    seconds=0.05,
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks ops", description="Measure the operations, about an hour.")
    parser.add_argument("--quick", action="store_true", help="small shapes, no memory: under a minute, noisy")
    parser.add_argument("--threads", type=int, default=1,
                        help="1: thread time, median; more: least wall clock, and what they gain over one")  # fmt: skip
    parser.add_argument("--malloc", nargs="+", choices=machine.MALLOC, default=list(machine.MALLOC),
                        help="glibc's: tuned to keep freed memory; as it is, and emptied before each pass")  # fmt: skip
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--methods", nargs="+", help="keep these only, such as native torch")
    parser.add_argument("--limit", type=float, default=FULL.limit, help="seconds a pass of the sweep may take")
    parser.add_argument("--no-sweep", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT, help=f"JSON lines, added to (default {OUT})")
    parser.add_argument("--here", action="store_true",
                        help="measure in this process with the allocator it was started with; no report")  # fmt: skip
    return parser


def plan_of(options: argparse.Namespace) -> Plan:
    """Sweep, memory and accuracy go with the first allocator only."""
    if options.threads < 1:
        raise SystemExit(f"--threads: expected 1 or more, got {options.threads}")
    plan = replace(
        QUICK if options.quick else FULL, threads=options.threads, cases=tuple(options.cases), limit=options.limit,
        methods=tuple(options.methods) if options.methods else None,
    )  # fmt: skip
    if options.no_sweep:
        plan = replace(plan, sweep=())
    if options.here and machine.malloc_here() != options.malloc[0]:
        plan = replace(plan, sweep=(), memory=None, accuracy=None)
    return plan


def record(plan: Plan, path: Path) -> None:
    """Add the plan's rows to the file, each as soon as it is measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for row in measure(plan):
            print(json.dumps(row), file=file, flush=True)


def write_report(rows: list[dict], beside: Path) -> str:
    """ops.jsonl -> ops.md and, where there is a sweep, ops.png."""
    text = report.markdown(rows)
    beside.with_suffix(".md").write_text(text)
    if any(row["part"] == "sweep" for row in rows):
        time_against_length(rows).savefig(beside.with_suffix(".png"))
    return text


def main(arguments: Sequence[str]) -> None:
    options = _parser().parse_args(arguments)
    plan = plan_of(options)
    path = options.out.resolve()
    if options.here:
        record(plan, path)
        return
    known = len(report.read(path)) if path.exists() else 0
    for malloc in options.malloc:
        command = [sys.executable, "-m", "benchmarks", "ops", *arguments, "--out", str(path), "--here"]
        subprocess.run(command, cwd=ROOT, env=machine.environment(malloc), check=True)
    print(write_report(report.read(path)[known:], path))
    print(f"rows: {path}   table: {path.with_suffix('.md')}   plot: {path.with_suffix('.png')}")


def render(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks report", description="Table and plot of rows already measured.")
    parser.add_argument("file", nargs="?", type=Path, default=OUT)
    path = parser.parse_args(arguments).file
    print(write_report(report.read(path), path))


if __name__ == "__main__":
    main(sys.argv[1:])
