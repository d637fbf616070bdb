"""What the Triton backend says where it cannot run; with or without Triton and a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

import spikeseq
from spikeseq import BackendError, ops
from spikeseq.ops import dispatch, gpu


@pytest.fixture(autouse=True)
def _looks_anew() -> Iterator[None]:
    gpu._absent.cache_clear()
    yield
    gpu._absent.cache_clear()


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda _name: None)
    assert "pip install 'spikeseq[gpu]'" in str(spikeseq.backends()["triton"])
    with pytest.raises(BackendError, match="'triton' cannot serve lif: Triton is not installed"):  # noqa: SIM117
        with spikeseq.backend("triton"):
            ops.lif(torch.zeros(1, 2, 3), 0.9)


def test_with_an_old_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda _name: object())
    monkeypatch.setattr(gpu, "import_module", lambda _name: SimpleNamespace(__version__="3.1.0"))
    assert "3.4 or newer, found 3.1.0" in str(spikeseq.backends()["triton"])


def test_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    modern = SimpleNamespace(knobs=SimpleNamespace(runtime=SimpleNamespace(interpret=False)))
    monkeypatch.setattr(gpu, "find_spec", lambda _name: object())
    monkeypatch.setattr(gpu, "import_module", lambda _name: modern)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in str(spikeseq.backends()["triton"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert spikeseq.backends()["triton"] is None


def test_work_on_a_cpu_does_not_look_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> bool:
        raise AssertionError("looked for a GPU")

    monkeypatch.setattr(torch.cuda, "is_available", look)
    ops.lif(torch.zeros(1, 2, 3), 0.9)


def test_cuda_tensors_come_here_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dispatch.REGISTRY, "triton", dispatch.Backend(gpu, gpu.refuses, "", lambda: None))
    cuda = torch.device("cuda")
    assert dispatch.choose(dispatch.Request("lif", cuda, torch.float32)) is gpu
    assert dispatch.choose(dispatch.Request("lif", cuda, torch.float64)) is not gpu


def test_no_other_name_is_offered() -> None:
    with pytest.raises(AttributeError, match="no attribute 'softmax'"):
        _ = gpu.softmax
