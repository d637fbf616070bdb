"""Which backend serves what, choosing one by name, and the native kernels held to the reference."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import BackendError, ops
from spikeseq.ops import dispatch
from spikeseq.ops.native import library
from spikeseq.ops.native.build import variants

X = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))


def need_native() -> None:
    if spikeseq.backends()["native"] is not None:
        pytest.skip(str(spikeseq.backends()["native"]))


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


@pytest.fixture(params=list(variants()))
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each instruction set that was compiled and that this processor runs."""
    need_native()
    monkeypatch.setenv("SPIKESEQ_ISA", request.param)
    library.load.cache_clear()
    library.kernel.cache_clear()
    found, reason = library.load()
    if found is None:
        monkeypatch.undo()
        library.load.cache_clear()
        pytest.skip(reason)
    yield request.param
    monkeypatch.undo()
    library.load.cache_clear()
    library.kernel.cache_clear()


SIZES = [(1, 1, 1), (2, 7, 15), (3, 33, 17), (2, 64, 65), (1, 100, 130), (2, 257, 63)]
SURROGATES = [ops.atan(), ops.rect(0.7), ops.sigmoid(3.0), ops.triangle(1.5), ops.integer(3)]


def make_starts(batch: int, time: int, kind: str) -> Tensor | None:
    if kind == "none":
        return None
    starts = torch.rand(batch, time) < 0.1
    starts[0, 0] = starts[-1, -1] = True
    return starts


def both(call) -> list[list[Tensor]]:
    results = []
    for name in ("native", "reference"):
        with spikeseq.backend(name):
            results.append(list(call()))
    return results


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("output", ["spikes", "membrane"])
@pytest.mark.parametrize("with_starts", ["none", "starts"])
def test_lif_and_prf_agree_bit_for_bit(isa: str, size: tuple[int, int, int], output: str, with_starts: str) -> None:  # noqa: ARG001
    """The kernels do the reference's sums in the reference's order. Any threshold, any reset, ties included."""
    batch, time, width = size
    x = torch.randn(size) * 2
    decay, gain = torch.rand(width), torch.rand(width) + 0.5
    threshold, rho = torch.rand(width) + 0.3, torch.rand(width) + 0.2
    turning = torch.polar(decay, torch.rand(width) * 6)
    starts, state = make_starts(batch, time, with_starts), torch.randn(batch, width)
    z = torch.complex(state, torch.randn(batch, width))
    for surrogate, strict in itertools.product([ops.atan(), ops.integer(3)], [False, True]):
        options: dict[str, Any] = {"surrogate": surrogate, "strict": strict, "output": output, "rho": rho}
        calls = [
            *(
                partial(ops.lif, x, decay, threshold, state, starts, reset=r, **options)
                for r in ("soft", "hard", "none")
            ),
            *(partial(ops.prf, x, turning, gain, threshold, z, starts, reset=r, **options) for r in ("soft", "none")),
        ]
        for call in calls:
            if surrogate.levels and call.keywords["reset"] == "hard":
                continue
            for got, wanted in zip(*both(call), strict=True):
                differ = int((got != wanted).sum())
                assert differ == 0, f"{call.func.__name__} {call.keywords}: {differ} of {got.numel()} differ"


def test_a_million_decisions_bit_for_bit() -> None:
    need_native()
    x = torch.randn(8, 1024, 128)
    decay = torch.linspace(0.0, 0.999, 128)
    for surrogate in (ops.atan(), ops.integer(4)):
        got, wanted = both(lambda: ops.lif(x, decay, 0.7, surrogate=surrogate))  # noqa: B023
        assert torch.equal(got[0], wanted[0]), f"{surrogate}: {int((got[0] != wanted[0]).sum())} spikes differ"
        assert torch.equal(got[1], wanted[1])


@pytest.mark.parametrize("tau", [0.25, 1.0, 0.7, 3.0])
def test_dsn_flips_few_decisions(isa: str, tau: float) -> None:  # noqa: ARG001
    """The gate's exponential is the kernel's own: spikes differ only where rounding decides, within 1e-5 of a tie."""
    x, gate = torch.randn(4, 512, 65) * 2, torch.randn(4, 512, 65) * 3
    (spikes, _), (wanted, _) = both(lambda: ops.dsn(x, gate, tau))
    (u, end), (v, wanted_end) = both(lambda: ops.dsn(x, gate, tau, output="membrane"))
    assert torch.allclose(u, v, rtol=0, atol=4e-6)
    assert torch.allclose(end, wanted_end, rtol=0, atol=4e-6)
    differ = spikes != wanted
    assert differ.float().mean().item() <= 1e-5
    assert bool(((v[differ] - v[differ].floor() - 0.5).abs() < 1e-5).all())


def gradients(call, *given: Tensor) -> list[Tensor]:
    inputs = [t.detach().clone().requires_grad_() for t in given]
    y, end = call(*inputs)
    noise = torch.Generator().manual_seed(2)
    loss = (y * torch.randn(y.shape, generator=noise)).sum() + (
        torch.view_as_real(end) if end.is_complex() else end
    ).square().sum()
    return [y, end, *torch.autograd.grad(loss, inputs)]


def unpacked(result: tuple[Tensor, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    y, (end, history) = result
    return y, torch.cat([end.unsqueeze(1), history], 1)


def viewed(result: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.view_as_real(result[0]), torch.view_as_real(result[1])


def clear(x: Tensor, gate: Tensor, tau: float, v: Tensor, state: Tensor, starts: Tensor | None, surrogate) -> bool:
    """Whether no DSN membrane lies where its spike or its surrogate jumps; LIF and PRF agree bit for bit anyway."""
    with spikeseq.backend("reference"):
        u, _ = ops.dsn(x.double(), gate.double(), tau, v.double(), state.double(), starts, output="membrane")
    if surrogate.levels is None:
        edges = [u - v, (u - v).abs() - surrogate.parameter / 2]
    else:
        edges = [u / v - u.div(v).floor() - 0.5, u / v, u / v - surrogate.levels]
    return all(bool((edge.abs() > 1e-5).all()) for edge in edges)


@pytest.mark.parametrize("size", [(3, 33, 17), (2, 130, 65)], ids=str)
@pytest.mark.parametrize("surrogate", SURROGATES, ids=lambda s: s.kind)
@pytest.mark.parametrize("with_starts", ["none", "starts"])
def test_gradients(isa: str, size: tuple[int, int, int], surrogate: ops.Surrogate, with_starts: str) -> None:  # noqa: ARG001
    batch, time, width = size
    starts = make_starts(batch, time, with_starts)
    decay, threshold, state = torch.rand(width) * 0.9, torch.rand(width) + 0.5, torch.randn(batch, width)
    x, gate = torch.randn(size) * 2, torch.randn(size)
    while not all(clear(x, gate, tau, threshold, state, starts, surrogate) for tau in (0.25, 0.6)):
        x = torch.randn(size) * 2
    turning, gain, z = torch.polar(decay, torch.rand(width) * 6), torch.rand(width) + 0.5, torch.complex(state, state)
    shared: dict[str, Any] = {"surrogate": surrogate}
    calls = [
        (lambda x, a, v, s: ops.lif(x, a, v, s, starts, **shared), (x, decay, threshold, state)),
        (lambda x, a, v, s: ops.lif(x, a, v, s, starts, reset="none", **shared), (x, decay, threshold, state)),
        (lambda x, a, g, v, s: ops.prf(x, a, g, v, s, starts, **shared), (x, turning, gain, threshold, z)),
        (
            lambda x, a, g, v, s: ops.prf(x, a, g, v, s, starts, reset="soft", **shared),
            (x, turning, gain, threshold, z),
        ),
        (lambda x, g, v, s: ops.dsn(x, g, 0.25, v, s, starts, **shared), (x, gate, threshold, state)),
        (lambda x, g, v, s: ops.dsn(x, g, 0.6, v, s, starts, **shared), (x, gate, threshold, state)),
        (lambda x, a, s: ops.linear_scan(x, a, s, starts), (x, gate.sigmoid(), state)),
        (
            lambda x, w, b, s: ops.sliding(x, w, b, s, starts),
            (x, torch.randn(width, 4), threshold, torch.randn(batch, 3, width)),
        ),
    ]
    for lags in (1, 4, 8, 9):
        taps, past = torch.randn(width, lags) * 0.5, torch.randn(batch, lags - 1, width)
        calls.append((
            lambda x, w, b, s, h: unpacked(ops.conv_dsn(x, w, b, 0.25, 1.0, (s, h), starts, output="membrane")),
            (x, taps, threshold, state, past),
        ))  # fmt: skip
    if surrogate.levels is None:
        calls.append(
            (lambda x, a, v, s: ops.lif(x, a, v, s, starts, reset="hard", **shared), (x, decay, threshold, state))
        )
    for i, (call, given) in enumerate(calls):
        got, wanted = both(lambda: gradients(call, *given))  # noqa: B023
        for j, (g, w) in enumerate(zip(got, wanted, strict=True)):
            assert g.shape == w.shape
            if w.numel() == 0:  # the history of a kernel of one lag
                continue
            error = (g - w).abs().max().item()
            assert error <= 1e-4 * (1 + w.abs().max().item()), f"call {i}, result {j}: off by {error}"


@pytest.mark.parametrize("with_starts", ["none", "starts"])
def test_several_vectors_over_several_tiles(isa: str, with_starts: str) -> None:  # noqa: ARG001
    """The paper's DSN and the scans of constant decay, as wide and as long as the kernels' quickest paths ask for."""
    batch, time, width = size = (2, 100, 80)
    starts = make_starts(batch, time, with_starts)
    taps, bias, threshold = torch.randn(width, 4) * 0.5, torch.randn(width), torch.rand(width) + 0.5
    past, state, surrogate = torch.randn(batch, 3, width), torch.randn(batch, width), ops.integer(4)
    while True:
        x = torch.randn(size) * 2
        with spikeseq.backend("reference"):
            gate, _ = ops.sliding(x.double(), taps.double(), bias.double(), past.double(), starts)
        if clear(x, gate, 0.25, threshold, state, starts, surrogate):
            break
    turning, z = torch.polar(torch.rand(width) * 0.9, torch.rand(width) * 6), torch.complex(state, state)
    calls = [
        (
            lambda x, w, b, v, s, h: unpacked(ops.conv_dsn(x, w, b, 0.25, v, (s, h), starts, surrogate=surrogate)),
            (x, taps, bias, threshold, state, past),
        ),
        (lambda x, a, s: ops.linear_scan(x, a, s, starts), (x, torch.rand(width) * 0.9, state)),
        (lambda x, a, s: viewed(ops.linear_scan(torch.complex(x, -x), a, s, starts)), (x, turning, z)),
    ]
    for i, (call, given) in enumerate(calls):
        for j, (g, w) in enumerate(zip(*both(lambda: gradients(call, *given)), strict=True)):  # noqa: B023
            error = (g - w).abs().max().item()
            assert error <= 1e-4 * (1 + w.abs().max().item()), f"call {i}, result {j}: off by {error}"


@pytest.mark.parametrize("tau", [0.25, 1 / 64, 1.0, 0.7, 3.0])
@pytest.mark.parametrize("gate", [-5.0, 2.0, 6.0, 12.0, 16.7, 30.0])
def test_a_long_memory_neither_grows_nor_misses(tau: float, gate: float) -> None:
    """DSN under a constant input, from zero and at rest: what alpha and 1 - alpha lack to 1 must not add up."""
    need_native()
    x, gates = torch.ones(1, 4096, 1), torch.full((1, 4096, 1), gate)
    exact, _ = ops.dsn(x.double(), gates.double(), tau, output="membrane")
    state = torch.ones(1, 1)
    with spikeseq.backend("native"):
        membrane, _ = ops.dsn(x, gates, tau, output="membrane")
        for _ in range(20):
            _, state = ops.dsn(x, gates, tau, state=state, output="membrane")
    assert (membrane - exact).abs().max() < 1e-5
    assert membrane.max() <= 1 + 1e-6
    assert abs(state.item() - 1) < 2e-6


@pytest.mark.parametrize("size", [(1, 1100, 256), (3, 700, 144), (1, 1700, 160), (5, 900, 70), (2, 5000, 64)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(size: tuple[int, int, int]) -> None:
    """Also the sizes at which outputs are streamed past the caches."""
    need_native()
    batch, _, width = size
    x, state = torch.randn(size), torch.randn(batch, width)
    decay, threshold = torch.rand(width), torch.rand(width) + 0.5
    turning, gate = torch.polar(decay, decay * 6), torch.randn(size)

    taps, past = torch.randn(width, 4), torch.randn(batch, 3, width)

    def all_ops() -> list[Tensor]:
        return [
            *gradients(lambda x, a, v, s: ops.lif(x, a, v, s), x, decay, threshold, state),
            *gradients(lambda x, a, v, s: ops.prf(x, a, v, v, torch.complex(s, s)), x, turning, threshold, state),
            *gradients(lambda x, g, v, s: ops.dsn(x, g, 0.25, v, s), x, gate, threshold, state),
            *gradients(lambda x, w, s, h: unpacked(ops.conv_dsn(x, w, state=(s, h))), x, taps, state, past),
            *gradients(lambda x, w, h: ops.sliding(x, w, None, h), x, taps, past),
        ]

    with spikeseq.backend("native"):
        single = all_ops()
        for threads in (2, 4):
            torch.set_num_threads(threads)
            for i, (a, b) in enumerate(zip(all_ops(), single, strict=True)):
                assert torch.equal(a, b), f"result {i} differs on {threads} threads"
        torch.set_num_threads(1)
    with spikeseq.backend("reference"):
        wanted = ops.lif(x, decay, threshold, state)
    assert torch.equal(single[0], wanted[0])
    assert torch.equal(single[1], wanted[1])


def test_the_kernels_leave_the_float_mode_alone() -> None:
    """They flush denormals for themselves; torch's own arithmetic must not notice."""
    need_native()
    with spikeseq.backend("native"):
        ops.lif(X, 0.9)
    tiny = torch.tensor([1e-40]) * torch.tensor([0.5])
    assert tiny.item() > 0
