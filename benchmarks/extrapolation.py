"""`python -m benchmarks extrapolation --data FILE ...`: trained at one length, scored at others.

Bytes; 90 % of each text for training, its last 5 % for the scores. Training: chunks of `--length` steps, each from a
fresh state, so no model has seen a longer past. Score at L: perplexity a byte over windows of L steps, each from a
fresh state, on the same `TOKENS` bytes. One model for each neuron, all in the SSM block, with the same levels, width,
depth, seed, schedule and processor time. MaskedPSN has no longer form than its T.
The texts run on as one.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import seed_everything
from torch.nn import functional as F

from benchmarks import machine
from benchmarks.budget import Budget, train
from spikeseq.blocks import TokenModel
from spikeseq.blocks.token_model import IGNORED
from spikeseq.tasks.chunks import Chunks, Text
from spikeseq.tasks.language import Language

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTHS = (1024, 2048, 4096, 8192, 16384, 30720)
TOKENS = 8 * LENGTHS[-1]
OUT = Path("runs/bench/extrapolation.jsonl")
COLOURS = {"DSN": "#d1602b", "PRF": "#2b5c8a", "LIF": "#3f9c6c", "SlidingPSN": "#d1a02b", "MaskedPSN": "#8a5cb0"}


def neurons(length: int, levels: int | None) -> dict[str, dict[str, Any]]:
    """Options of each neuron; orders of the PSNs as in their paper's sequential CIFAR."""
    return {
        "DSN": {"levels": levels},
        "PRF": {"levels": levels, "dt_min": 0.01, "dt_max": 1.0, "train_tau": True},
        "LIF": {"levels": levels, "train_decay": True},
        "SlidingPSN": {"levels": levels, "order": 32},
        "MaskedPSN": {"levels": levels, "order": 32, "steps": length},
    }


def perplexity(model: TokenModel, text: Text, length: int, steps: int | None) -> float:
    """A byte, over windows of `length` steps. steps: the one length that the model takes; windows are filled up."""
    windows = len(text.tokens) // length
    rows = max(rows for rows in range(1, LENGTHS[-1] // length + 1) if windows % rows == 0)  # none is left out
    total, count = 0.0, 0
    model.eval()
    for x, y, _ in Chunks(text, rows, length):
        if steps is not None:  # causal all the same, so what follows a window does not change it
            x, y = F.pad(x, (0, steps - length)), F.pad(y, (0, steps - length), value=IGNORED)
        with torch.no_grad():
            nll, _ = model.nll(x, y)
        total, count = total + float(nll.double().sum()), count + int((y != IGNORED).sum())
    return math.exp(total / count)


def plot(rows: Sequence[dict[str, Any]]) -> Figure:
    """Perplexity against the length of evaluation, one line a neuron."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=120)
    axis = figure.subplots()
    for row in rows:
        lengths = [int(length) for length in row["perplexity"]]
        axis.plot(
            lengths, list(row["perplexity"].values()), marker="o", markersize=4, color=COLOURS[row["neuron"]],
            label=row["neuron"],
        )  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(LENGTHS, [f"{length // 1024}k" for length in LENGTHS])
    axis.minorticks_off()
    axis.axvline(rows[0]["length"], color="#999999", linestyle="--", linewidth=1)
    axis.set_xlabel("length of evaluation (bytes); dashed: length of training")
    axis.set_ylabel("perplexity a byte")
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


def table(rows: Sequence[dict[str, Any]]) -> str:
    head = ["neuron", "parameters", "steps", "CPU minutes", *(f"{length // 1024}k" for length in LENGTHS)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    for row in rows:
        scores = [row["perplexity"].get(str(length)) for length in LENGTHS]
        cells = [row["neuron"], f"{row['parameters']:,}", f"{row['steps']:,}", f"{row['minutes']:.1f}"]
        lines.append("| " + " | ".join([*cells, *("-" if s is None else f"{s:.3f}" for s in scores)]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks extrapolation", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", metavar="FILE", help="texts; without: render OUT again")
    parser.add_argument("--minutes", type=float, default=3.0, help="processor time for each model")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--levels", type=int, default=4, help="N of the integer spikes, 0 for binary")
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=COLOURS, help="some of the neurons")
    parser.add_argument("--out", type=Path, default=OUT, help="rows are added; the plot stands beside it")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name, options in neurons(chosen.length, chosen.levels or None).items() if chosen.data else ():
        if not chosen.only or name in chosen.only:
            row = measured(name, options, chosen)
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            with chosen.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = {row["neuron"]: row for row in map(json.loads, chosen.out.read_text().splitlines())}
    print(table(list(rows.values())))
    plot(list(rows.values())).savefig(chosen.out.with_suffix(".png"))


def measured(name: str, options: dict[str, Any], chosen: argparse.Namespace) -> dict[str, Any]:
    """One neuron's row: trained, then scored at each length."""
    data = Language(text=chosen.data, length=chosen.length, batch_size=chosen.batch)
    for split in ("train", "test"):
        data.split(split).begins[1:] = False  # one long text: MaskedPSN cannot begin afresh within its T
    held_out = data.split("test")
    if len(held_out.tokens) < TOKENS:
        raise ValueError(f"expected {TOKENS} bytes of held-out text (5 % of all), got {len(held_out.tokens)}")
    seed_everything(chosen.seed, verbose=False)
    model = TokenModel(257, chosen.width, chosen.depth, block="ssm", neuron=name, neuron_options=options)
    done = train(model, data, Budget(chosen.minutes, chosen.lr, chosen.lr, warmup_steps=50, carry=False))
    text = Text(held_out.tokens[:TOKENS], held_out.begins[:TOKENS], held_out.start, TOKENS)
    steps = options.get("steps")
    lengths = [length for length in LENGTHS if steps is None or length <= steps]
    scores = {str(length): perplexity(model, text, length, steps) for length in lengths}
    size = sum(p.numel() for p in model.parameters())
    settings = {**vars(chosen), "data": [path.name for path in chosen.data], "out": str(chosen.out)}
    about = {"neuron": name, "parameters": size, "steps": done.steps, "minutes": done.minutes, "perplexity": scores}
    return {**settings, **about, "cpu": machine.cpu_model(), "torch": torch.__version__}
