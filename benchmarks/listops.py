"""A training step of the ListOps model: on our kernels, on the papers' FFT form, with S4D in the neuron's place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn.functional import cross_entropy

import spikeseq
from benchmarks import memory, timing
from benchmarks.cases import Shape
from benchmarks.s4d import S4D
from spikeseq import PRF, SequenceClassifier
from spikeseq.graphs import record
from spikeseq.neurons import State
from spikeseq.training import parameter_groups

CONFIG = memory.ROOT / "configs/lra/listops.yaml"


class ByFFT(PRF):
    """PRF on the papers' form, its membrane by convolution."""

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        with spikeseq.backend("fft"):
            return super().forward(x, state, starts)


# name -> options that the configuration's model gets besides its own
WAYS: dict[str, dict[str, Any]] = {
    "PRF": {},
    "PRF, FFT form": {"neuron": ByFFT},
    "S4D": {"neuron": S4D, "neuron_options": {}},
}


def settings() -> dict[str, Any]:
    """Of the run: model with its options, learning rates, batch size."""
    return yaml.safe_load(CONFIG.read_text())


def full_shape() -> tuple[Shape, int]:
    """The configuration's batch and width on 2,048 steps, and its depth."""
    run = settings()
    options = run["model"]["model"]["init_args"]
    return Shape(run["data"]["init_args"]["batch_size"], 2048, options["width"]), options["depth"]


def training_step(way: str, shape: Shape, depth: int, device: str = "cpu", graphed: bool = False) -> Callable[[], None]:
    """Forward, cross-entropy, backward and AdamW on random tokens, every row [time] of them long. Weights are made
    here; the optimiser's own state in the first step. graphed: the model's passes are replayed, see `CUDAGraphs`."""
    torch.manual_seed(0)
    task = settings()["model"]
    options = task["model"]["init_args"]
    model = SequenceClassifier(**{**options, "width": shape.width, "depth": depth, **WAYS[way]}).to(device)
    x = torch.randint(options["vocabulary"], shape[:2], device=device)
    y = torch.randint(options["classes"], shape[:1], device=device)
    rates = (float(task[name]) for name in ("lr", "neuron_lr", "weight_decay"))  # YAML takes 5e-3 for a word
    optimizer = torch.optim.AdamW(parameter_groups(model, *rates), fused=x.is_cuda or None)  # as in spikeseq.training
    if graphed:
        record(model, x)

    def step() -> None:
        cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def peak(name: str, shape: Shape, depth: int) -> int:
    """Bytes beyond libraries, weights and the optimiser's state; in this process, meant for a fresh one."""
    step = training_step(name, shape, depth)
    training_step(name, Shape(1, 16, shape.width), depth)()  # loads the libraries
    return memory.peak(step)


def rows(shape: Shape, depth: int, rounds: int, seconds: float, threads: int) -> Iterator[dict[str, Any]]:
    """Time and peak memory of each way; a way that fails in a process of its own is left out, and why is said."""
    peaks: dict[str, int] = {}
    about = {"part": "training", "case": f"depth {depth}", **shape._asdict(), "measure": "training step"}
    for name in WAYS:
        try:
            peaks[name] = memory.fresh("benchmarks.listops", name, json.dumps(shape), str(depth), str(threads))
        except RuntimeError as failure:
            yield about | {"method": name, "skipped": str(failure)}
    if not peaks:
        return
    tasks = {name: training_step(name, shape, depth) for name in peaks}
    taken = timing.interleaved(tasks, rounds, seconds, threads, f"training step, {shape}")
    for name, times in taken.items():
        spent, first = (timing.summary(taken[n], threads) for n in (name, next(iter(taken))))
        yield about | {"method": name, "ms": 1e3 * spent, "ms_least": 1e3 * min(times), "ms_most": 1e3 * max(times),
                       "rounds": len(times), "ratio": spent / first, "peak_bytes": peaks[name]}  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    print(peak(sys.argv[1], Shape(*json.loads(sys.argv[2])), int(sys.argv[3])))
