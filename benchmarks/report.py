"""Rows as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import Shape
from benchmarks.timing import ROOF_BYTES

Row = dict[str, Any]
READING = """\
"x clone" is the time over that of `x.clone()` in the same interleaved rounds: 1 is reading the input once and writing a
fresh tensor once. "x copy_" is the time over a copy into warm memory. With malloc "tuned" freed memory is kept and no
pass asks for new pages; with "default" all of it goes back to the system before each pass, so that each, `clone` too,
pays for its pages (the kernels ask for huge ones). Forward builds the graph that training needs; all columns include
giving memory back. GB/s counts the bytes that must move (x and output; backward x and two
gradients), not those that a method does move. Peak memory is that of forward + backward beyond input, upstream gradient
and parameters, over the input's bytes: output and input gradient alone make 2."""


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def shape_of(row: Row) -> Shape:
    return Shape(row["batch"], row["time"], row["width"])


def _key(row: Row) -> tuple:
    return row["case"], row["method"], shape_of(row), row["measure"], row["part"], row["threads"], row["malloc"]


def latest(rows: Iterable[Row]) -> list[Row]:
    """One row a measurement: where a file holds several runs, the last."""
    return list({_key(row): row for row in rows}.values())


def _unique(rows: Iterable[Row], *fields: str) -> list[tuple]:
    return list(dict.fromkeys(tuple(row[field] for field in fields) for row in rows))


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 2 + "--:|" * (len(head) - 2)]
    return "\n".join([*lines, *("| " + " | ".join(cells) + " |" for cells in body)])


def number(value: float | None, form: str = ".3g") -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if form == ".3g" and abs(value) >= 100 else f"{value:{form}}"


def pick(row: Row | None, field: str, form: str = ".3g") -> str:
    return "-" if row is None else number(row.get(field), form)


def times_table(rows: list[Row]) -> str:
    """Forward and forward + backward of every method, one shape, one allocator."""
    columns = [f"{what}, {unit}" for unit in ("x clone", "x copy_", "ms", "GB/s") for what in ("forward", "both")]
    body = []
    for case, method in _unique(rows, "case", "method"):
        mine = {row["measure"]: row for row in rows if (row["case"], row["method"]) == (case, method)}
        one, both = mine.get("forward"), mine.get("forward+backward")
        cells = [pick(row, field) for field in ("ratio", "ratio_warm", "ms", "gb_s") for row in (one, both)]
        body.append([case, f"*{method}*" if method in ROOF_BYTES else method, *cells])
    return table(["case", "method", *columns], body)


def sweep_table(rows: list[Row]) -> str:
    """Milliseconds of forward + backward against T."""
    lengths = sorted({row["time"] for row in rows})
    found = {(row["case"], row["method"], row["time"]): row for row in rows
             if row["measure"] == "forward+backward" or row["method"] == "clone"}  # fmt: skip
    names = dict.fromkeys((case, method) for case, method, _ in found)
    body = [[case, method, *(pick(found.get((case, method, t)), "ms") for t in lengths)] for case, method in names]
    return table(["case", "method", *(f"T = {t}" for t in lengths)], body)


def scaling_table(rows: list[Row]) -> str:
    columns = ["case", "method", *(f"{what}, {unit}" for what in ("forward", "both")
                                   for unit in ("1 thread, ms", "ms", "gain"))]  # fmt: skip
    body = []
    for case, method in _unique(rows, "case", "method"):
        mine = {row["measure"]: row for row in rows if (row["case"], row["method"]) == (case, method)}
        cells = [pick(mine.get(measure), field) for measure in ("forward", "forward+backward")
                 for field in ("ms_one", "ms", "speedup")]  # fmt: skip
        body.append([case, method, *cells])
    return table(columns, body)


def memory_table(rows: list[Row]) -> str:
    body = [[row["case"], row["method"], pick(row, "ratio", ".2f")] for row in rows]
    return table(["case", "method", "peak extra memory, x input"], body)


def accuracy_table(rows: list[Row]) -> str:
    body = []
    for row in rows:
        differing = "-" if row.get("differing") is None else f"{row['differing']} of {row['of']}"
        body.append([row["case"], row["method"], pick(row, "membrane", ".1e"), differing, pick(row, "rate")])
    return table(["case", "method", "membrane, largest error", "spikes that differ", "mean spike"], body)


def skips(rows: list[Row]) -> str:
    """One line for each case, method and reason, with all the shapes it holds for."""
    shapes: dict[tuple[str, str, str], dict[str, None]] = {}
    for row in rows:
        shapes.setdefault((row["case"], row["method"], row["skipped"]), {})[str(shape_of(row))] = None
    return "\n".join(f"- {case} {method}: {why} ({'; '.join(at)})" for (case, method, why), at in shapes.items())


def where(row: Row) -> str:
    versions = {"torch": row["torch"], "spikeseq": row["spikeseq"], **row["peers"]}
    with_what = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{row['cpu']} ({row['machine']}), kernels {row['kernels']}, {with_what}, {row['date'][:10]}"


def markdown(rows: list[Row]) -> str:
    """The whole report: a table for each shape and allocator, then sweep, memory, accuracy and what was left out."""
    every = latest(rows)
    if not every:
        raise ValueError("report: expected at least one row, got none")
    skipped, rows = ([row for row in every if ("skipped" in row) == left_out] for left_out in (True, False))
    parts = ["# Operations", *(f"Measured on {where}." for where in dict.fromkeys(map(where, every))), READING]

    def section(title: str, chosen: list[Row], render: Callable[[list[Row]], str]) -> None:
        if chosen:
            parts.extend([f"## {title}", render(chosen)])

    for part, title, render in (
        ("shapes", "", times_table),
        ("scaling", "Threads, ", scaling_table),
        ("sweep", "ms of forward + backward against T, ", sweep_table),
    ):
        here = [row for row in rows if row["part"] == part]
        fields = ("batch", "width", "malloc", "threads", *(() if part == "sweep" else ("time",)))
        for values in _unique(here, *fields):
            chosen = [row for row in here if tuple(row[field] for field in fields) == values]
            length = "" if part == "sweep" else f", T = {values[4]}"
            threads = f"{values[3]} thread" + "s" * (values[3] > 1)
            about = f"batch {values[0]}, width {values[1]}{length}, malloc {values[2]}, {threads}"
            section(f"{title}{about}", chosen, render)
    for part, title, render in (
        ("memory", "Peak extra memory of forward + backward", memory_table),
        ("accuracy", "Against float64", accuracy_table),
    ):
        here = [row for row in rows if row["part"] == part]
        for shape in dict.fromkeys(map(shape_of, here)):
            section(f"{title}, {shape}", [row for row in here if shape_of(row) == shape], render)
    section("Left out", skipped, skips)
    return "\n\n".join(parts) + "\n"
