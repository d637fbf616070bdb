"""Returns of training over steps, by environment, as one PNG.

    python agents/learning_curves.py FOLDER [--output curves.png] [--window 100]

FOLDER holds runs of `python -m spikeseq_agents train --folder FOLDER/<environment>/<kind>_seed<number>`. A line is the
mean over the seeds of one kind of the running mean over `window` episodes; the band is its 95 % interval (Student's t,
from scipy).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student
from stable_baselines3.common.monitor import load_results

POINTS = 100


def curve(run: Path, window: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps of all environments together, running mean of the returns) of one run."""
    table = load_results(str(run / "monitor"))
    returns = table["r"].rolling(window, min_periods=1).mean()
    return np.asarray(table["l"].cumsum()), np.asarray(returns)


def mean_and_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """values [seeds, points] -> mean and half of the 95 % interval, [points]; 0 for one seed."""
    seeds = len(values)
    if seeds < 2:
        return values[0], np.zeros_like(values[0])
    return values.mean(0), student.ppf(0.975, seeds - 1) * values.std(0, ddof=1) / seeds**0.5


def draw(folder: Path, window: int) -> Figure:
    runs: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(path.parent for path in folder.glob("*/*_seed*/monitor")):
        runs[run.parent.name][run.name.rsplit("_seed", 1)[0]].append(curve(run, window))
    if not runs:
        raise SystemExit(f"error: expected runs {folder}/<environment>/<kind>_seed<number>/monitor, found none")
    figure = Figure(figsize=(3.2 * len(runs), 2.6), dpi=110, layout="constrained")
    for axis, (env, kinds) in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs.items(), strict=True):
        for kind, curves in kinds.items():
            steps = np.linspace(0, min(x[-1] for x, _ in curves), POINTS + 1)[1:]
            mean, half = mean_and_interval(np.stack([np.interp(steps, x, y) for x, y in curves]))
            axis.plot(steps, mean, label=f"{kind}, {len(curves)} seeds", linewidth=1.2)
            axis.fill_between(steps, mean - half, mean + half, alpha=0.2, linewidth=0)
        axis.set_title(env, fontsize=9)
        axis.set_xlabel("steps", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.locator_params(axis="x", nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=7)
    figure.supylabel(f"return, mean of {window} episodes", fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("curves.png"))
    parser.add_argument("--window", type=int, default=100)
    given = parser.parse_args(arguments)
    draw(given.folder, given.window).savefig(given.output)
    print(given.output)


if __name__ == "__main__":
    main()
