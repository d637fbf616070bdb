"""`python -m benchmarks forms`: how the Triton kernels' work is best cut on this device.

Each form (`spikeseq/ops/gpu/launch.py`) is compiled, all of them side by side, then measured by CUDA graphs on one
shape: forward and forward + backward in copies of the input. `backward` is their difference, so rows and width of the
forward block can be chosen apart from tile and width of the backward block.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

import torch

from benchmarks import gpu, timing
from benchmarks.cases import Shape
from benchmarks.report import table
from spikeseq.ops.gpu.launch import CONVOLVED, GATED, LIF, PRF, VARYING, Form

SHAPE = Shape(64, 4096, 256)
TRIED = [(16, 16), (16, 32), (16, 64), (32, 32), (8, 16)]  # tile, rows


class Candidate(NamedTuple):
    case: str
    home: str  # the module of the backend that reads the form, under this name
    name: str
    form: Form


def candidates() -> list[Candidate]:
    """The forms in use first, then others."""
    used = {
        ("LIF", "membranes", "LIF"): LIF,
        ("linear_scan", "membranes", "LIF"): LIF,
        ("PRF", "membranes", "PRF"): PRF,
        ("varying_scan", "gated", "VARYING"): VARYING,
        ("dsn_op", "gated", "GATED"): GATED,
        ("DSN", "gated", "CONVOLVED"): CONVOLVED,
    }
    found = []
    for key, form in used.items():
        others = [dataclasses.replace(form, tile=tile, rows=rows) for tile, rows in TRIED]
        wide = [dataclasses.replace(form, forward=block, backward=block) for block in (64, 128)]
        found += [Candidate(*key, tried) for tried in dict.fromkeys([form, *others, *wide])]
    return found


@contextmanager
def in_use(candidate: Candidate) -> Iterator[None]:
    home = import_module(f"spikeseq.ops.gpu.{candidate.home}")
    before = getattr(home, candidate.name)
    setattr(home, candidate.name, candidate.form)
    try:
        yield
    finally:
        setattr(home, candidate.name, before)


def prepare(candidate: Candidate, shape: Shape, device: str = "cuda") -> None:
    with in_use(candidate):
        gpu.prepare(candidate.case, shape, device)


def measured(candidate: Candidate, shape: Shape, device: str = "cuda") -> list[str]:
    """A row of the table."""
    with in_use(candidate):
        ways = gpu.passes(candidate.case, shape, gpu.ours(candidate.case), device)
        tasks = {"copy": timing.roofs(torch.randn(shape, device=device))["copy_"], **ways}
        ms = {name: gpu.clocked(task)["ms"] for name, task in tasks.items()}
    form, copy = candidate.form, ms["copy"]
    forward, both = ms["forward"] / copy, ms["forward+backward"] / copy
    share = 100 * gpu.case_of(candidate.case).forward_bytes / 8 / forward
    cells = [candidate.case, *(str(n) for n in (form.rows, form.forward, form.tile, form.backward))]
    return [*cells, f"{share:.0f} %", f"{forward:.2f}", f"{both - forward:.2f}", f"{both:.2f}"]


HEAD = ["case", "rows", "block", "tile", "block back", "of copy", "forward", "backward", "both"]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks forms", description="Measure other forms of the Triton kernels.")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("BATCH", "TIME", "WIDTH"))
    options = parser.parse_args(arguments)
    gpu.demand_device("forms")
    shape, found = Shape(*options.shape), candidates()
    gpu.side_by_side(prepare, [(candidate, shape) for candidate in found])
    print(f"{torch.cuda.get_device_name()}, {list(shape)}")
    print(table(HEAD, (measured(candidate, shape) for candidate in found)))
