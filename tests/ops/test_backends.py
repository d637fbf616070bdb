"""Which backend serves what, and choosing one by name."""

from __future__ import annotations

import shutil
import threading

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import BackendError, ops
from spikeseq.ops import dispatch
from spikeseq.ops.native import library
from tests.ops.kernels import need_native

X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))


def test_native_is_here_where_a_compiler_is() -> None:
    """Every other test of the native backend skips without it; this one does not."""
    if shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"):
        assert spikeseq.backends()["native"] is None


def test_the_report_lists_every_backend() -> None:
    report = spikeseq.backends()
    lines = repr(report).splitlines()
    assert [line.split()[0] for line in lines] == ["reference", "torch", "native", "triton", "fft"]
    assert all(("here" in line) == (report[line.split()[0]] is None) for line in lines)
    assert report["reference"] is report["torch"] is report["fft"] is None


def test_the_report_says_why_native_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "load", lambda: (None, "no C compiler"))
    assert spikeseq.backends()["native"] == "no C compiler"
    assert "missing" in repr(spikeseq.backends())
    assert "no C compiler" in repr(spikeseq.backends())
    assert torch.equal(ops.lif(X, 0.9)[0], serving("torch")[0])  # auto goes on without it
    with pytest.raises(BackendError, match="'native' cannot serve lif: no C compiler"), spikeseq.backend("native"):
        ops.lif(X, 0.9)


def test_a_library_of_other_sources_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments may be laid out in another way."""
    need_native()
    monkeypatch.setattr(library, "fingerprint", lambda _: "of a later day")
    library.load.cache_clear()
    try:
        assert "other sources" in str(spikeseq.backends()["native"])
    finally:
        monkeypatch.undo()
        library.load.cache_clear()


@pytest.mark.filterwarnings("ignore:Accessing the data pointer:UserWarning")
def test_tensors_without_memory_are_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    need_native()
    with FakeTensorMode(), spikeseq.backend("native"), pytest.raises(RuntimeError, match="FakeTensor that has none"):
        ops.lif(torch.zeros(2, 3, 8), 0.9)


def serving(name: str) -> tuple[Tensor, Tensor]:
    with spikeseq.backend(name):
        return ops.lif(X, 0.9)


def chosen(x: Tensor = X) -> str:
    module = dispatch.choose(dispatch.Request("lif", x.device, x.dtype, reset="soft"))
    return module.__name__.rpartition(".")[2]


def test_auto_takes_native_for_float32_and_torch_otherwise() -> None:
    need_native()
    assert chosen() == "native"
    assert chosen(X.double()) == "scan"


def test_choices_nest_and_end() -> None:
    before = chosen()
    with spikeseq.backend("reference"):
        assert chosen() == "reference"
        with spikeseq.backend("fft"):
            assert chosen() == "fft"
            with spikeseq.backend("auto"):
                assert chosen() == before
            assert chosen() == "fft"
        assert chosen() == "reference"
    assert chosen() == before


def test_a_choice_ends_with_an_error() -> None:
    before = chosen()
    with pytest.raises(KeyError), spikeseq.backend("reference"):
        raise KeyError
    assert chosen() == before


def test_a_choice_stays_in_its_thread() -> None:
    seen: list[str] = []
    default = chosen()
    with spikeseq.backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(chosen()))
        thread.start()
        thread.join()
        assert chosen() == "reference"
    assert seen == [default]


def test_a_backend_is_chosen_in_the_forward_pass() -> None:
    """Backward after the block, as every training loop does it."""
    x = X.clone().requires_grad_()
    with spikeseq.backend("fft"):
        y, _ = ops.lif(x, 0.9)
    y.sum().backward()
    assert x.grad is not None


def test_an_unknown_backend() -> None:
    with (
        pytest.raises(BackendError, match=r"unknown backend 'cuda'.*reference.*torch.*native.*fft"),
        spikeseq.backend("cuda"),
    ):
        pass


STARTS = torch.zeros(2, 5, dtype=torch.bool)
REFUSALS = {
    "fft starts": ("fft", lambda: ops.lif(X, 0.9, starts=STARTS), "starts"),
    "fft starts prf": ("fft", lambda: ops.prf(X, 0.9j, 1.0, starts=STARTS), "starts"),
    "fft starts scan": ("fft", lambda: ops.linear_scan(X, 0.9, starts=STARTS), "starts"),
    "fft hard": ("fft", lambda: ops.lif(X, 0.9, reset="hard"), "soft"),
    "fft varying": ("fft", lambda: ops.linear_scan(X, torch.rand_like(X)), "decay"),
    "fft levels": ("fft", lambda: ops.lif(X, 0.9, surrogate=ops.integer(2)), "binary"),
    "fft dsn": ("fft", lambda: ops.dsn(X, X), "dsn"),
    "fft sliding": ("fft", lambda: ops.sliding(X, torch.ones(3, 2)), "sliding"),
    "torch through the reset": ("torch", lambda: ops.lif(X, 0.9, detach_reset=False), "reference"),
    "fft through the reset": ("fft", lambda: ops.lif(X, 0.9, detach_reset=False), "reference"),
    "native through the reset": ("native", lambda: ops.prf(X, 0.9j, 1.0, detach_reset=False), "reference"),
    "native float64": ("native", lambda: ops.lif(X.double(), 0.9), "float32"),
    "auto through the reset": ("auto", lambda: ops.lif(X, 0.9, detach_reset=False), "reference"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_named_backend_serves_or_raises(name: str) -> None:
    backend, call, why = REFUSALS[name]
    if backend == "native":
        need_native()
    with pytest.raises(BackendError, match=why), spikeseq.backend(backend):
        call()
