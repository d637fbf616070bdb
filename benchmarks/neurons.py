"""`python -m benchmarks neurons TASK --data FOLDER`: the neurons beside each other in one network, on one budget.

TASK: `columns`, CIFAR-10 column by column (T = 32) through the spiking CNN of the DSN paper; `smnist`, MNIST pixel by
pixel (T = 784) through SD-TCM blocks without a channel mixer. Every neuron has the same network, batches, learning
rate, schedule and number of steps; the weights of the epoch best on held-out training images are tested, once. Binary
neurons stand beside binary ones, N = 4 beside N = 4. `--ablation`: DSN with one setting changed at a time instead.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from tqdm import tqdm

from benchmarks import machine, report
from spikeseq import SequenceClassifier
from spikeseq.blocks import ColumnCNN
from spikeseq.cli import first_test_batch, quieten
from spikeseq.energy import energy
from spikeseq.tasks.cifar import CIFAR10
from spikeseq.tasks.mnist import SequentialMNIST
from spikeseq.training import SequenceTask, read_checkpoint

Options = dict[str, Any]
OUT = Path("runs/bench/neurons.jsonl")


class Setting(NamedTuple):
    """steps: T; order: of masked and sliding PSN; prf: PRF's options, that suit so many steps; decay: LIF's."""

    steps: int
    order: int
    prf: Options
    decay: float
    data: Callable[[Path, int, int], LightningDataModule]
    model: Callable[[int, str, Options], nn.Module]


SETTINGS = {
    "columns": Setting(
        steps=32, order=32, prf={"dt_min": 0.1, "dt_max": 2.0, "train_tau": True}, decay=0.5,
        data=lambda folder, batch, seed: CIFAR10(folder, "columns", batch_size=batch, seed=seed),
        model=lambda width, neuron, options: ColumnCNN(width=width, neuron=neuron, neuron_options=options),
    ),
    "smnist": Setting(
        steps=784, order=32, prf={"dt_min": 0.01, "dt_max": 1.0, "train_tau": True}, decay=0.9,
        data=lambda folder, batch, seed: SequentialMNIST(folder, batch_size=batch, seed=seed),
        model=lambda width, neuron, options: SequenceClassifier(
            inputs=1, classes=10, width=width, depth=2, neuron=neuron, neuron_options=options, channel_mixer=False
        ),
    ),
}  # fmt: skip


def peers(setting: Setting) -> dict[str, tuple[str, Options]]:
    """Name in the table -> neuron, options. "trained LIF" is the parametric LIF, with a decay for each channel."""
    masked = {"steps": setting.steps, "order": setting.order}
    return {
        "LIF": ("LIF", {"decay": setting.decay}),
        "trained LIF": ("LIF", {"decay": setting.decay, "train_decay": True}),
        "PSN": ("PSN", {"steps": setting.steps}),
        "masked PSN": ("MaskedPSN", masked),
        "sliding PSN": ("SlidingPSN", {"order": setting.order}),
        "PRF": ("PRF", setting.prf),
        "DSN": ("DSN", {"levels": None}),
        "LIF, N = 4": ("LIF", {"decay": setting.decay, "train_decay": True, "levels": 4}),
        "PSN, N = 4": ("PSN", {"steps": setting.steps, "levels": 4}),
        "sliding PSN, N = 4": ("SlidingPSN", {"order": setting.order, "levels": 4}),
        "PRF, N = 4": ("PRF", {**setting.prf, "levels": 4}),
        "DSN, N = 4": ("DSN", {"levels": 4}),
    }


def ablations() -> dict[str, tuple[str, Options]]:
    """DSN as by default (causal convolution of 4, tau .25, N = 4), and with one setting changed."""
    changed: dict[str, Options] = {"as by default": {}}
    changed |= {f"decay {kind}": {"decay": kind} for kind in ("linear", "none")}
    changed |= {f"k = {k}": {"kernel_size": k} for k in (1, 2, 8)}
    changed |= {f"tau = {tau:g}": {"tau": tau} for tau in (1.0, 4.0, 16.0)}
    changed |= {f"N = {levels}": {"levels": levels} for levels in (3, 2, 1)}
    return {name: ("DSN", options) for name, options in changed.items()}


def measured(name: str, neuron: str, options: Options, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """One run's row. `cpu_seconds`: processor time of an epoch, its validation included."""
    setting = SETTINGS[chosen.task]
    seed_everything(seed, verbose=False)
    data = setting.data(chosen.data, chosen.batch, seed)
    model = setting.model(chosen.width, neuron, options)
    task = SequenceTask(
        model, lr=chosen.lr, neuron_lr=chosen.neuron_lr, weight_decay=0.01, warmup_steps=chosen.warmup_steps
    )
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val_accuracy", mode="max", save_weights_only=True)
        trainer = Trainer(
            max_epochs=chosen.epochs, limit_train_batches=chosen.share, accelerator="cpu", callbacks=[best],
            logger=False, enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=1.0,
            num_sanity_val_steps=0,
        )  # fmt: skip
        began = time.process_time()
        trainer.fit(task, data)
        seconds = (time.process_time() - began) / chosen.epochs
        task.load_state_dict(read_checkpoint(best.best_model_path, task)["state_dict"])
        validation = float(best.best_model_score or 0.0)
    (scores,) = trainer.test(task, data, verbose=False)
    counted = energy(model.eval(), first_test_batch(task, data))
    return {
        **{k: v for k, v in vars(chosen).items() if k in ("task", "epochs", "share", "width", "batch", "lr")},
        "ablation": chosen.ablation, "name": name, "neuron": neuron, "options": options, "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "validation": validation, "test": scores["test_accuracy"],
        "rate": mean(counted.firing_rates.values()), "joule": counted.full_joule, "dense_joule": counted.dense_joule,
        "cpu_seconds": seconds, "cpu": machine.cpu_model(), "torch": torch.__version__,
    }  # fmt: skip


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a neuron, means over its seeds, with the standard deviation of the test accuracy."""
    body = []
    for name in dict.fromkeys(row["name"] for row in rows):
        runs = [row for row in rows if row["name"] == name]
        test = [100 * row["test"] for row in runs]
        spread = f" ± {stdev(test):.2f}" if len(test) > 1 else ""
        body.append([
            name, f"{runs[0]['parameters']:,}", str(len(runs)), f"{100 * mean(r['validation'] for r in runs):.2f}",
            f"{mean(test):.2f}{spread}", f"{mean(r['rate'] for r in runs):.3f}",
            f"{1e6 * mean(r['joule'] for r in runs):.2f}", f"{mean(r['cpu_seconds'] for r in runs):.0f}",
        ])  # fmt: skip
    head = ["neuron", "parameters", "seeds", "validation %", "test %", "spikes a neuron and step",
            "energy, µJ", "CPU s an epoch"]  # fmt: skip
    return report.table(head, body)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks neurons", description=__doc__)
    parser.add_argument("task", choices=SETTINGS)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="CIFAR-10's or MNIST's files")
    parser.add_argument("--ablation", action="store_true", help="DSN's settings instead of the neurons")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the table's lines")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the batches, drawn anew each epoch")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--neuron-lr", type=float, default=5e-3)
    parser.add_argument("--warmup-steps", type=int, default=50)
    parser.add_argument("--out", type=Path, default=OUT, help="JSON lines, added to; the table stands beside them")
    chosen = parser.parse_args(arguments)
    lines = ablations() if chosen.ablation else peers(SETTINGS[chosen.task])
    unknown = set(chosen.only or ()) - set(lines)
    if unknown:
        parser.error(f"--only: expected names of {list(lines)}, got {sorted(unknown)}")
    torch.set_num_threads(1)
    quieten()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    runs = [(seed, name) for seed in chosen.seeds for name in lines if not chosen.only or name in chosen.only]
    found = []
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.out.open("a") as file:
        for seed, name in tqdm(runs, desc=chosen.task, unit="run"):
            found.append(measured(name, *lines[name], seed, chosen))
            print(json.dumps(found[-1]), file=file, flush=True)
            gc.collect()  # trainer and task hold each other, and the images with them
    chosen.out.with_suffix(".md").write_text(table(found) + "\n")
    print(table(found))
