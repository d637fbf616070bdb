"""Where a figure was measured, and with which allocator."""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import spikeseq
from benchmarks import peers
from spikeseq.ops.native import library

# Fresh memory costs a page fault every 4 kB: more than the kernels themselves. "tuned" keeps freed blocks, so that no
# pass asks for fresh pages. The variables work only when set before the process starts. glibc's default gives blocks
# above 32 MB back at once; smaller ones it keeps or gives back by what was freed before them, so that the same clone of
# 16.8 MB takes 1.3 ms in one run and 7.7 ms in another. Under "default" `settle` gives all back before each pass, and
# every pass pays for its pages.
KEEP = str(1 << 35)
TUNED = {"MALLOC_MMAP_THRESHOLD_": KEEP, "MALLOC_TRIM_THRESHOLD_": KEEP}
MALLOC = ("tuned", "default")


def environment(malloc: str) -> dict[str, str]:
    """This process's environment with the allocator of a child set."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    return plain | (TUNED if malloc == "tuned" else {})


def malloc_here() -> str:
    """The setting this process was started with: "default", "tuned", or the variables themselves."""
    found = {key: value for key, value in os.environ.items() if key.startswith("MALLOC_")}
    if not found:
        return "default"
    return "tuned" if found == TUNED else " ".join(f"{key}={value}" for key, value in sorted(found.items()))


def give_back() -> None:
    """Freed memory back to the system, where the C library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def settle() -> None:
    """The same history before every pass: see `TUNED`."""
    if malloc_here() != "tuned":
        give_back()


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def facts(threads: int) -> dict[str, Any]:
    """What every row carries."""
    gibibytes = memory_bytes() / 2**30
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {gibibytes:.0f} GiB",
        "cpu": cpu_model(),
        "kernels": library.load()[1],
        "torch": torch.__version__,
        "spikeseq": spikeseq.__version__,
        "peers": {name: version(package) for name, package in peers.PACKAGES.items() if peers.missing(name) is None},
        "threads": threads,
        "malloc": malloc_here(),
    }
