"""The benchmark of the Triton kernels, as far as it goes without a device: what it says, and that all of it runs."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import gpu, machine
from benchmarks.cases import Shape


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so_in_one_line():
    with pytest.raises(SystemExit, match=r"^benchmarks gpu: .+") as stop:
        gpu.main([])
    assert "\n" not in str(stop.value)


def test_every_case_is_measured_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, with a clock that takes a forward pass for one unit, a copy for another, and runs each once."""
    clock = {True: {"ms": 1.5, "called_ms": 2.0}, False: {"ms": 0.5, "called_ms": 0.7}}
    monkeypatch.setattr(gpu, "clocked", lambda task: clock[task() is None])
    facts, small = machine.facts(1), Shape(2, 16, gpu.WIDTH)
    found = []
    for name in gpu.BANDWIDTH:
        own = replace(gpu.ours(name), name="torch", backend="torch")
        rows = gpu.measured("bandwidth", name, small, (own,), "cpu")
        found += [facts | row | {"method": row["method"].replace("torch", "triton")} for row in rows]
    for name, shape, methods in gpu.comparisons():
        kept = [method for method in methods if not method.foreign]
        tiny = shape._replace(batch=1, time=16, width=4)
        found += [facts | row for row in gpu.measured("peers", name, tiny, kept, "cpu")]
    text = gpu.markdown(found)
    for name in gpu.BANDWIDTH:
        share = {"varying_scan": 50}.get(name, 33)  # 12 bytes or 8 in 1.5 units, a copy moves 8 in 0.5
        assert f"| {name} | 512 | {share} %, 3.00 |" in text
    for method in ("fft", "reference"):
        assert f"| LIF | {method} | [1, 16, 4] | 1.5 | 2 | 1.5 | 2 |" in text
    assert "| PSN | gemm | [1, 16, 4] | 1.5 | 2 | 1.5 | 2 |" in text


def test_what_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fla", None)
    monkeypatch.setattr(gpu, "clocked", lambda _: {"called_ms": 1.0})
    rows = gpu.measured("peers", "varying_scan", Shape(1, 2, 4), gpu.VARYING.methods, "cpu")
    found = [machine.facts(1) | row for row in rows]
    assert [row["method"] for row in found if "skipped" in row] == ["chunk_hgrn", "fused_recurrent_hgrn"]
    assert "| varying_scan | chunk_hgrn | [1, 2, 4] | - | - | - | No module named 'fla" in gpu.markdown(found)
