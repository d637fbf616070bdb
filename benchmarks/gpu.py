"""`python -m benchmarks gpu`: the Triton kernels on a CUDA device, first held to the reference there, then measured.

Bandwidth: forward and forward + backward against a copy on the device. Peers: LIF against the sequential loop, the
papers' FFT form and spikingjelly's kernel; the scan with a varying decay against flash-linear-attention's HGRN; DSN
against PSN; a training step of the ListOps model against the FFT form and S4D. Two clocks: the device's own time, from
replays of a CUDA graph of the pass, and the time as called from Python, from `triton.testing.do_bench`, which holds
what the host needs to start it. Both are medians; a pass above a quarter second is run once more and read once, and one
above ten times as much only once. The kernels are compiled side by side first.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spikeseq
from benchmarks import listops, machine, modules, peers, timing
from benchmarks.cases import CASES, DECAY, Case, Method, Shape
from benchmarks.gpu_report import markdown
from benchmarks.report import Row, read
from spikeseq.ops.gpu import split

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("runs/bench/gpu.jsonl")
WIDTH = 256
GRID = [Shape(values // WIDTH, time, WIDTH) for values in (512, 4096, 16384, 65536)
        for time in (1 << 10, 1 << 12, 1 << 14, 1 << 17)]  # fmt: skip
MOST = 1 << 30  # elements of one tensor, 4.3 GB
SLOW, VERY_SLOW = 250.0, 2500.0  # ms
LOOPS = ("reference", "fft")  # backends that walk over time in Python and compile nothing
BANDWIDTH = ("LIF", "PRF", "DSN", "linear_scan", "varying_scan")
NARROW, NARROW_SHAPE = ("LIF", "PRF", "DSN", "linear_scan"), Shape(64, 4096, WIDTH)  # bfloat16 in and out


def _spikingjelly_kernel(_: Shape) -> nn.Module:
    os.environ.setdefault("SJ_LIF_CUDA_IMPLEMENTATION", "triton")  # read at import: this one, or an error
    return peers.spikingjelly_lif(DECAY)


VARYING = Case("varying_scan", (
    Method("chunk_hgrn", lambda shape: modules.HGRN(shape, "chunk"), foreign=True),
    Method("fused_recurrent_hgrn", lambda shape: modules.HGRN(shape, "fused_recurrent"), foreign=True),
), forward_bytes=12, both_bytes=12 + 20)  # fmt: skip
SPIKINGJELLY = Method("spikingjelly", _spikingjelly_kernel, time_first=True, foreign=True)


def case_of(name: str) -> Case:
    return VARYING if name == "varying_scan" else CASES[name]


def ours(name: str) -> Method:
    return Method(
        "triton", modules.Varying if name == "varying_scan" else CASES[name].methods[0].build, backend="triton"
    )


def comparisons() -> Iterator[tuple[str, Shape, tuple[Method, ...]]]:
    """Case, shape, and the methods beside ours."""
    named = {(name, method.name): method for name, case in CASES.items() for method in case.methods}
    loop, fft = named["LIF", "reference"], named["LIF", "fft"]
    yield "LIF", Shape(64, 32768, 128), (SPIKINGJELLY, loop)
    for time in (1024, 4096, 16384, 32768):
        yield "LIF", Shape(16, time, 128), (fft, loop)
    yield "varying_scan", Shape(16, 16384, 128), VARYING.methods
    yield "DSN", Shape(16, 16384, 128), ()
    yield "PSN", Shape(16, 16384, 128), (named["PSN", "gemm"],)


def clocked(task: timing.Task, graph: bool = True) -> dict[str, Any]:
    """Milliseconds as called from Python, `called_ms`, and on the device alone, `ms`, or why no graph can hold it."""
    once = _once(task)  # finds room
    if once < VERY_SLOW:
        once = _once(task)
    if once > SLOW:
        return {"called_ms": once}
    bench: Any = import_module("triton.testing")
    times: dict[str, Any] = {"called_ms": bench.do_bench(task, warmup=10, rep=50, return_mode="median")}
    if not graph:
        return times
    try:
        times["ms"] = bench.do_bench_cudagraph(task, rep=10, return_mode="median")
    except (RuntimeError, ValueError) as error:  # such as a look at its values on the way
        torch.cuda.synchronize()
        times["no_graph"] = str(error).partition("\n")[0]
    return times


def _once(task: timing.Task) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    task()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def passes(
    name: str, shape: Shape, method: Method, device: str = "cuda", dtype: torch.dtype = torch.float32
) -> dict[str, timing.Task]:
    case = case_of(name)
    with torch.device(device):
        x, module = torch.randn(shape).mul_(case.scale), method.build(shape)
    return timing.passes(replace(case, output=dtype), method, module, x.to(dtype))


def prepare(name: str, shape: Shape, device: str = "cuda") -> None:
    """Compile our kernels for the shape, into Triton's cache on disk, by running them once."""
    passes(name, shape, ours(name), device)["forward+backward"]()


def side_by_side(function: Callable[..., None], jobs: Iterable[tuple[Any, ...]]) -> None:
    """`function(*job)` for each job, each in a process of its own: the compiler works on one core."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(function, *job) for job in jobs]:
            done.result()


def kernels_needed() -> list[tuple[str, Shape]]:
    """One job for each form a kernel takes: a case, a width, cut along time or not."""
    jobs = [(name, shape) for name in BANDWIDTH for shape in GRID]
    jobs += [(name, shape) for name, shape, _ in comparisons() if name != "PSN"]
    kinds: dict[tuple, tuple[str, Shape]] = {}
    for name, shape in sorted(jobs, key=lambda job: job[1].elements):
        narrow = shape.batch * shape.width * split.GAIN <= split.FILL and shape.time >= split.GAIN * split.LEAST
        kinds.setdefault((name, shape.width, narrow), (name, shape))
    return list(kinds.values())


def measured(
    part: str, name: str, shape: Shape, methods: Iterable[Method], device: str = "cuda",
    dtype: torch.dtype = torch.float32,
) -> Iterator[Row]:  # fmt: skip
    """Rows of a copy and of each method, or why it gave none."""
    case, about = case_of(name), {"part": part, "case": name, **shape._asdict()}
    if device == "cuda":
        torch.cuda.empty_cache()  # what earlier graphs held
    copy, share = clocked(timing.roofs(torch.randn(shape, device=device).to(dtype))["copy_"]), dtype.itemsize / 4
    if "ms" in copy:  # a copy of a gigabyte took a quarter longer in a graph than called: the shorter is the roof
        copy["ms"] = min(copy["ms"], copy["called_ms"])
    yield about | {"method": "copy_", "measure": "forward", **_speed(copy, copy, 8 * share * shape.elements)}
    for method in methods:
        try:
            ways = passes(name, shape, method, device, dtype)
            for measure, moved in (("forward", case.forward_bytes), ("forward+backward", case.both_bytes)):
                if method.backend not in LOOPS:
                    ways[measure]()  # compiles, and lets peers tune themselves
                speed = _speed(clocked(ways[measure]), copy, moved * share * shape.elements)
                if method.name == "triton" and "no_graph" in speed:
                    raise RuntimeError(f"{name} {measure} on {list(shape)}: {speed['no_graph']}")
                yield about | {"method": method.name, "measure": measure, **speed}
        except (ImportError, RuntimeError) as failure:  # not installed, or no room for it
            if method.name == "triton":
                raise
            yield about | {"method": method.name, "measure": "forward+backward",
                           "skipped": str(failure).partition("\n")[0]}  # fmt: skip


def _speed(times: dict[str, Any], copy: dict[str, Any], moved: float) -> dict[str, Any]:
    if "ms" in times and "ms" in copy:
        return times | {"ratio": times["ms"] / copy["ms"], "gb_s": 1e-6 * moved / times["ms"]}
    return times


def training() -> Iterator[Row]:
    """A training step of the ListOps model, each way, as called from Python: eager, and with the passes replayed."""
    shape, depth = listops.full_shape()
    about = {"part": "training", "case": f"depth {depth}", **shape._asdict(), "measure": "training step"}
    for way, graphed in product(listops.WAYS, (False, True)):
        step = listops.training_step(way, shape, depth, "cuda", graphed)
        step()
        gc.collect()  # a model and its recorded passes hold each other
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        times = clocked(step, graph=False)
        name = f"{way}, CUDA graph" if graphed else way
        yield about | {"method": name, **times, "peak_bytes": torch.cuda.max_memory_allocated()}


def rows() -> Iterator[Row]:
    packages = {**peers.PACKAGES, "fla": "flash-linear-attention"}
    facts = machine.facts(1) | {
        "cpu": torch.cuda.get_device_name(), "malloc": "device", "kernels": f"triton {version('triton')}",
        "peers": {name: version(package) for name, package in packages.items() if find_spec(name) is not None},
    }  # fmt: skip
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    side_by_side(prepare, kernels_needed())
    for name in BANDWIDTH:
        for shape in (shape for shape in GRID if shape.elements <= MOST):
            yield from (facts | row for row in measured("bandwidth", name, shape, (ours(name),)))
    for name in NARROW:
        found = measured("bfloat16", name, NARROW_SHAPE, (ours(name),), dtype=torch.bfloat16)
        yield from (facts | row for row in found)
    yield from (facts | row for row in training())
    for name, shape, methods in comparisons():
        own = () if name == "PSN" else (ours(name),)
        yield from (facts | row for row in measured("peers", name, shape, (*own, *methods)))


def _hold_to_the_reference() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/ops/gpu/test_device.py"]
    command += ["-p", "no:benchmark"]  # that plugin warns beside xdist, and a warning is an error
    spread = ["-n", str(os.cpu_count())] if find_spec("xdist") else []  # most of it is compiling
    if subprocess.run([*command, *spread], cwd=ROOT, check=False).returncode != 0:
        raise SystemExit("benchmarks gpu: the kernels differ from the reference on this device; nothing was measured")


def demand_device(command: str) -> None:
    reason = spikeseq.backends()["triton"] or (None if torch.cuda.is_available() else "no CUDA device found")
    if reason:
        raise SystemExit(f"benchmarks {command}: {reason}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks gpu", description="Test and measure the Triton kernels.")
    parser.add_argument("--untested", action="store_true", help="measure at once, without the equality tests")
    parser.add_argument("--out", type=Path, default=OUT, help=f"JSON lines, added to (default {OUT})")
    options = parser.parse_args(arguments)
    demand_device("gpu")
    if not options.untested:
        _hold_to_the_reference()
    path: Path = options.out
    path.parent.mkdir(parents=True, exist_ok=True)
    known = len(read(path)) if path.exists() else 0
    with path.open("a") as file:
        for row in rows():
            print(json.dumps(row), file=file, flush=True)
    text = markdown(read(path)[known:])
    path.with_suffix(".md").write_text(text)
    print(text)
