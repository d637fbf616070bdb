"""Peak extra memory of forward + backward, in a fresh process.

Linux lets a process reset the high-water mark of its resident memory (`/proc/self/clear_refs`, 5). Extra memory is
VmHWM after the pass less VmRSS before it, with input, upstream gradient and parameters already in memory; so the output
and the input's gradient alone make 2.0 times the input. Huge pages round each large block up to 2 MB.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import machine
from benchmarks.cases import CASES, Shape
from benchmarks.timing import passes

ROOT = Path(__file__).resolve().parents[1]
BY = "VmHWM after reset, less VmRSS before, in a fresh process"


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def peak(task: Callable[[], object]) -> int:
    """The bytes by which `task` raises this process's resident memory at most."""
    gc.collect()
    machine.give_back()  # freed blocks still in memory would hide as much of what follows
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    task()
    return resident("VmHWM") - before


def extra_bytes(case: str, method: str, shape: Shape) -> int:
    """In this process; meant for a fresh one."""
    about = CASES[case]
    chosen = next(m for m in about.methods if m.name == method)
    short = shape._replace(time=min(shape.time, 64))
    torch.manual_seed(0)
    for size in (short, shape):  # the short pass loads the libraries and makes their work space
        x = torch.randn(size).mul_(about.scale)
        both = passes(about, chosen, chosen.build(size), x)["forward+backward"]
        del x
        if size == short:
            both()
    return peak(both)  # pyright: ignore[reportPossiblyUnboundVariable]


def measure(case: str, method: str, shape: Shape, threads: int) -> int:
    """The same from a process of its own, see `fresh`."""
    return fresh("benchmarks.memory", case, method, json.dumps(shape), str(threads))


def fresh(module: str, *arguments: str) -> int:
    """The number that `python -m module arguments` prints last, in a process of its own with glibc's allocator as it
    is. RuntimeError with its last line where it fails."""
    command = [sys.executable, "-m", module, *arguments]
    env = machine.environment("default")
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"killed ({done.returncode})"])[-1])
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    print(extra_bytes(sys.argv[1], sys.argv[2], Shape(*json.loads(sys.argv[3]))))
