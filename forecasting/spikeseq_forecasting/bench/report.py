"""Rows of the benchmark: as JSON lines with what they were measured on, and as tables for a document."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

Row = dict[str, Any]
Job = tuple[Row, Callable[[], Row]]  # what is measured, and its measurement
LIBRARIES = ("spikeseq", "torch", "sktime", "gluonts", "pandas")


def run(jobs: Sequence[Job], out: Path | None) -> list[Row]:
    """The rows of `jobs`, one after the other under a progress bar; each is appended to `out` when it is there."""
    rows = []
    with tqdm(jobs, unit="run", disable=None) as bar:
        for label, measure in bar:
            bar.set_description(" ".join(str(value) for value in label.values()))
            rows.append({**label, **rounded(measure()), **facts()})
            if out is not None:
                with out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    return rows


def rounded(value: Any) -> Any:
    """Numbers to five significant digits, inside lists and dicts too."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def facts() -> Row:
    """Where and with what a row was measured."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in LIBRARIES},
    }


def read(paths: Iterable[Path]) -> list[Row]:
    """JSON lines as `run` wrote them. Raises ValueError with file and line for others."""
    rows = []
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                rows.append(json.loads(line))
                known = rows[-1]["table"] in TABLES
            except (json.JSONDecodeError, KeyError, TypeError):
                known = False
            if not known:
                raise ValueError(f"{path}, line {number}: expected a JSON object of the benchmark")
    return rows


# Of each table: what makes a row, what makes a column, and the numbers of a cell.
TABLES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "forecast": (("model", "refit"), "set", ("mase", "wql", "fit_cpu_s")),
    "horizons": (("protocol", "set", "model"), "horizon", ("mse", "mae", "r2", "rse", "fit_cpu_s")),
    "classification": (("model",), "set", ("accuracy", "fit_cpu_s")),
    "streaming": (("model",), "rows", ("update_ms", "predict_ms")),
}


def tables(rows: list[Row]) -> str:
    """All rows as Markdown, a table each kind: means over seeds, with the deviation of the first number."""
    return "\n\n".join(table(kind, found) for kind in TABLES if (found := [r for r in rows if r["table"] == kind]))


def table(kind: str, rows: list[Row]) -> str:
    across, down, numbers = TABLES[kind]
    lines = list(dict.fromkeys(tuple(str(row[name]) for name in across) for row in rows))
    columns = list(dict.fromkeys(row[down] for row in rows))
    averaged = kind != "streaming"  # a mean over lengths of history would say nothing
    drawn = [[*across, *map(str, columns), *["mean"] * averaged]]
    for line in lines:
        found = [row for row in rows if tuple(str(row[name]) for name in across) == line]
        cells = [[row for row in found if row[down] == column] for column in columns]
        mean = [cell(found if all(cells) else [], numbers)] * averaged
        drawn.append([*line, *(cell(some, numbers) for some in cells), *mean])
    head, *body = ("| " + " | ".join(row) + " |" for row in drawn)
    return "\n".join([f"{kind}: {' / '.join(numbers)}", "", head, "|---" * len(drawn[0]) + "|", *body])


def cell(rows: list[Row], numbers: tuple[str, ...]) -> str:
    """Means over seeds of the means of each seed's rows; "-" for what was not measured."""
    if not rows:
        return "-"
    seeds = dict.fromkeys(row["seed"] for row in rows)
    shown = []
    for number in numbers:
        values = [[row[number] for row in rows if row["seed"] == seed] for seed in seeds]
        if any(None in some for some in values):
            shown.append("-")
            continue
        means = [statistics.fmean(some) for some in values]
        shown.append(f"{statistics.fmean(means):.{2 if number.endswith('_s') else 3}g}")
        if number == numbers[0] and len(means) > 1:
            shown[-1] += f" ± {statistics.stdev(means):.2g}"
    return " / ".join(shown)
