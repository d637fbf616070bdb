"""Peak extra memory of forward + backward, in a fresh process.

Linux lets a process reset the high-water mark of its resident memory (`/proc/self/clear_refs`, 5). Extra memory is
VmHWM after the pass less VmRSS before it, with input, upstream gradient and parameters already in memory; so the output
and the input's gradient alone make 2.0 times the input. Huge pages round each large block up to 2 MB.
"""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.cases import CASES, Shape
from benchmarks.timing import passes

ROOT = Path(__file__).resolve().parents[1]
BY = "VmHWM after reset, less VmRSS before, in a fresh process"


def _resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def extra_bytes(case: str, method: str, shape: Shape) -> int:
    """In this process; meant for a fresh one."""
    chosen = next(m for m in CASES[case].methods if m.name == method)
    short = shape._replace(time=min(shape.time, 64))
    torch.manual_seed(0)
    for size in (short, shape):  # the short pass loads the libraries and makes their work space
        x = torch.randn(size).mul_(CASES[case].scale)
        both = passes(chosen, chosen.build(size), x)["forward+backward"]
        del x
        if size == short:
            both()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed blocks still in memory would hide as much of what follows
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    both()  # pyright: ignore[reportPossiblyUnboundVariable]
    return _resident("VmHWM") - before


def measure(case: str, method: str, shape: Shape, threads: int) -> int:
    """The same from a process of its own. Raises RuntimeError with that process's last line where it fails."""
    command = [sys.executable, "-m", "benchmarks.memory", case, method, json.dumps(shape), str(threads)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"killed ({done.returncode})"])[-1])
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[4]))
    print(extra_bytes(sys.argv[1], sys.argv[2], Shape(*json.loads(sys.argv[3]))))
