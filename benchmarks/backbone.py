"""`python -m benchmarks backbone`: whole training steps, where their time goes, and one step of each neuron."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import listops, machine, report, shares, steps
from benchmarks.cases import Shape
from benchmarks.memory import ROOT

Row = dict[str, Any]
OUT = Path("runs/bench/backbone.jsonl")
ABOUT = """\
Training step: forward, cross-entropy, backward and AdamW of the ListOps configuration's model on random tokens; peak
memory is beyond libraries, weights and optimiser, in a fresh process. S4D: a diagonal state-space layer of order 64 by
FFT convolution in each neuron's place, its outputs dense. Shares: forward and backward of a backbone of SD-TCM blocks,
or one step of a stream through a folded one; the milliseconds are those of the pass without clocks inside."""


class Plan(NamedTuple):
    """training, profile: (shape, depth)."""

    training: tuple[Shape, int]
    profile: tuple[Shape, int]
    rounds: int
    seconds: float


QUICK = Plan((Shape(2, 128, 32), 2), (Shape(2, 128, 64), 2), rounds=3, seconds=0.05)


def full() -> Plan:
    return Plan(listops.full_shape(), (Shape(16, 1024, 256), 6), rounds=7, seconds=10.0)


def rows(plan: Plan, threads: int) -> Iterator[Row]:
    torch.set_num_threads(threads)
    facts = machine.facts(threads)
    every = (
        listops.rows(*plan.training, plan.rounds, plan.seconds, threads),
        shares.rows(*plan.profile, plan.rounds, plan.seconds, threads),
        steps.rows(plan.profile[0].width, 3 * plan.rounds, plan.seconds, threads),
    )
    for part in every:
        yield from (facts | row for row in part)


def training_table(rows: Sequence[Row]) -> str:
    body = [[row["case"], row["method"], report.pick(row, "ms"), report.pick(row, "ratio"),
             report.number(row["peak_bytes"] / 2**30)] for row in rows]  # fmt: skip
    return report.table(["model", "method", "ms", "x PRF", "peak memory, GiB"], body)


def profile_table(rows: Sequence[Row]) -> str:
    kinds = (*shares.KINDS, "rest")
    body = [[f"{row['case']}, batch {row['batch']}", row["measure"], report.pick(row, "ms"),
             *(f"{row[kind]:.0%}" for kind in kinds)] for row in rows]  # fmt: skip
    return report.table(["neuron", "pass", "ms", *kinds], body)


def steps_table(rows: Sequence[Row]) -> str:
    batches = sorted({row["batch"] for row in rows})
    found = {(row["case"], row["batch"]): row for row in rows}
    body = [[name, "step", *(report.pick(found.get((name, batch)), "us") for batch in batches)]
            for name in dict.fromkeys(row["case"] for row in rows)]  # fmt: skip
    return report.table(["neuron", "pass", *(f"us, batch {batch}" for batch in batches)], body)


TABLES = {
    "training": ("Training step", training_table),
    "profile": ("Shares of a backbone", profile_table),
    "step": ("One step of a neuron", steps_table),
}


def markdown(rows: Iterable[Row]) -> str:
    every = report.latest(rows)
    parts = ["# Backbone", *(f"Measured on {where}." for where in dict.fromkeys(map(report.where, every))), ABOUT]
    for part, (title, render) in TABLES.items():
        here = [row for row in every if row["part"] == part and "skipped" not in row]
        for shape, threads, malloc in dict.fromkeys((group(row), row["threads"], row["malloc"]) for row in here):
            chosen = [row for row in here if (group(row), row["threads"], row["malloc"]) == (shape, threads, malloc)]
            parts += [f"## {title}, {shape}, malloc {malloc}, {threads} thread" + "s" * (threads > 1), render(chosen)]
    left_out = [row for row in every if "skipped" in row]
    return "\n\n".join([*parts, *(["## Left out", report.skips(left_out)] if left_out else [])]) + "\n"


def group(row: Row) -> str:
    """What a table's rows share: the shape, or the width alone where the batch stands in a column."""
    return str(report.shape_of(row)) if row["part"] == "training" else f"width {row['width']}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks backbone", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small: half a minute, noisy")
    parser.add_argument("--batch", type=int, help="of the training step, where memory is short")
    parser.add_argument("--threads", type=int, default=1, help="1: thread time, median; more: least wall clock")
    parser.add_argument("--malloc", choices=machine.MALLOC, default=machine.MALLOC[0])
    parser.add_argument("--out", type=Path, default=OUT, help=f"JSON lines, added to (default {OUT})")
    chosen = parser.parse_args(arguments)
    path = chosen.out.resolve()
    if machine.malloc_here() != chosen.malloc:  # glibc reads its settings as a process starts
        command = [sys.executable, "-m", "benchmarks", "backbone", *arguments, "--out", str(path)]
        subprocess.run(command, cwd=ROOT, env=machine.environment(chosen.malloc), check=True)
        return
    plan = QUICK if chosen.quick else full()
    if chosen.batch is not None:
        plan = plan._replace(training=(plan.training[0]._replace(batch=chosen.batch), plan.training[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    found = []
    with path.open("a") as file:
        for row in rows(plan, chosen.threads):
            print(json.dumps(row), file=file, flush=True)
            found.append(row)
    path.with_suffix(".md").write_text(markdown(found))
    print(markdown(found))
