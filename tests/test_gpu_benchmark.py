"""The benchmark of the Triton kernels, as far as it goes without a device: what it says, and that all of it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
import torch

from benchmarks import forms, gpu, machine
from benchmarks.cases import Shape
from spikeseq.ops.gpu import launch, split
from spikeseq.ops.gpu.launch import Form


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("command", [gpu, forms])
def test_without_a_device_it_says_so_in_one_line(command: ModuleType) -> None:
    name = command.__name__.removeprefix("benchmarks.")
    with pytest.raises(SystemExit, match=f"^benchmarks {name}: .+") as stop:
        command.main([])
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


def test_each_kernel_is_compiled_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = gpu.kernels_needed()
    assert {name for name, _ in needed} == set(gpu.BANDWIDTH)
    cut = {split.chunks_for(torch.empty(shape, device="meta"), "none", launch.LIF.rows) > 1 for _, shape in needed}
    assert cut == {True, False}
    ran: list[str] = []
    torch_instead = {name: replace(gpu.ours(name), backend="torch") for name in gpu.BANDWIDTH}
    monkeypatch.setattr(gpu, "ours", lambda name: (ran.append(name), torch_instead[name])[1])
    for name in gpu.BANDWIDTH:
        gpu.prepare(name, Shape(2, 3, 4), "cpu")
    assert ran == list(gpu.BANDWIDTH)


def test_every_form_is_measured_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    membranes = pytest.importorskip("spikeseq.ops.gpu.membranes", reason="Triton is not installed")
    read: list[Form] = []

    def clocked(task: Callable[[], object]) -> dict[str, float]:
        read.append(membranes.LIF)
        return {"ms": 1.5 if task() is None else 0.5}

    torch_instead = replace(gpu.ours("LIF"), backend="torch")
    monkeypatch.setattr(gpu, "ours", lambda _: torch_instead)
    monkeypatch.setattr(gpu, "clocked", clocked)
    tried = [candidate for candidate in forms.candidates() if candidate.case == "LIF"]
    assert tried[0].form == launch.LIF
    assert len({candidate.form for candidate in tried}) == len(tried) > len(forms.TRIED)
    for candidate in tried:
        forms.prepare(candidate, Shape(1, 3, 4), "cpu")
        row = forms.measured(candidate, Shape(2, 16, 8), "cpu")
        assert row[0] == "LIF"
        assert row[5:] == ["33 %", "3.00", "0.00", "3.00"]
        assert len(row) == len(forms.HEAD)
    assert read == [candidate.form for candidate in tried for _ in range(3)]
    assert membranes.LIF is launch.LIF


def test_what_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fla", None)
    monkeypatch.setattr(gpu, "clocked", lambda _: {"called_ms": 1.0})
    rows = gpu.measured("peers", "varying_scan", Shape(1, 2, 4), gpu.VARYING.methods, "cpu")
    found = [machine.facts(1) | row for row in rows]
    assert [row["method"] for row in found if "skipped" in row] == ["chunk_hgrn", "fused_recurrent_hgrn"]
    assert "| varying_scan | chunk_hgrn | [1, 2, 4] | - | - | - | No module named 'fla" in gpu.markdown(found)
