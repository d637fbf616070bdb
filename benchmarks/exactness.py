"""`python -m benchmarks exactness`: spikes that differ from the sequential LIF in float64, of 1,048,576 decisions.

Each row is one leak and one drive; each column a backend in float32 or float64. The papers' FFT form computes the same
spikes from a membrane that is never reset, which grows like mean(x) / (1 - decay) and must cancel: where it does not,
spikes differ. "tie" is a drive of quarters at decay 0.5, whose membrane often equals the threshold exactly.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

import spikeseq
from benchmarks import machine
from spikeseq import ops

DECISIONS = 1 << 20
DECAYS = (0.5, 0.9, 0.99, 0.999, 0.9999)
COLUMNS = (("native", torch.float32), ("torch", torch.float32), ("fft", torch.float32), ("torch", torch.float64),
           ("fft", torch.float64))  # fmt: skip


def drives(shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """White noise, a constant current with a little noise, and quarters that meet the threshold exactly."""
    noise = torch.randn(shape)
    return {"noise": noise, "constant": 0.3 + 0.01 * noise, "tie": torch.randint(-4, 8, shape) / 4}


def differing(backend: str, dtype: torch.dtype, x: Tensor, decay: float, wanted: Tensor) -> int:
    with torch.no_grad(), spikeseq.backend(backend):
        return int((ops.lif(x.to(dtype), decay)[0].double() != wanted).sum())


def rows(time: int, width: int, seed: int) -> list[tuple[str, float, int, list[int]]]:
    """(drive, decay, spikes of the definition, differing spikes a column)."""
    torch.manual_seed(seed)
    cases = [(name, x, decay) for name, x in drives((DECISIONS // (time * width), time, width)).items()
             for decay in (DECAYS if name != "tie" else (0.5,))]  # fmt: skip
    found = []
    for name, x, decay in tqdm(cases, desc="exactness"):
        with torch.no_grad(), spikeseq.backend("reference"):
            wanted = ops.lif(x.double(), decay)[0]
        counts = [differing(backend, dtype, x, decay, wanted) for backend, dtype in COLUMNS]
        found.append((name, decay, int(wanted.sum()), counts))
    return found


def markdown(found: list[tuple[str, float, int, list[int]]]) -> str:
    names = [f"{backend} {str(dtype).removeprefix('torch.')}" for backend, dtype in COLUMNS]
    lines = ["| drive | decay | spikes | " + " | ".join(names) + " |", "|---|--:|--:|" + "--:|" * len(names)]
    lines += [f"| {name} | {decay} | {spikes:,} | {' | '.join(map(str, counts))} |"
              for name, decay, spikes, counts in found]  # fmt: skip
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks exactness", description=__doc__)
    parser.add_argument("--time", type=int, default=4096)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    missing = spikeseq.backends()["native"]
    if missing is not None:
        raise SystemExit(f"exactness compares the native backend, which is not here: {missing}")
    if options.time < 1 or options.width < 1 or options.time * options.width > DECISIONS:
        raise SystemExit(f"expected 1 <= time * width <= {DECISIONS}, got {options.time} * {options.width}")
    print(markdown(rows(options.time, options.width, options.seed)))
    print(f"\n{machine.cpu_model()}, torch {torch.__version__}, seed {options.seed}, T = {options.time}")
