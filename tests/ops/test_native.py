"""The native kernels' decisions held to the reference's, on every instruction set."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import ops
from tests.ops.kernels import both, gradients, make_starts, need_native, unpacked, viewed

SIZES = [(1, 1, 1), (2, 7, 15), (3, 33, 17), (2, 64, 65), (1, 100, 130), (2, 257, 63)]


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


@pytest.mark.parametrize("shape", [(1,), (33, 17), (2, 70, 65), (1, 257, 130)], ids=str)
@pytest.mark.parametrize("grad", [True, False])
def test_spikes_agree_bit_for_bit(isa: str, shape: tuple[int, ...], grad: bool) -> None:  # noqa: ARG001
    """Also the short way of few membranes without gradient."""
    membrane = (torch.randn(shape) * 2).requires_grad_()
    thresholds = (0.7, torch.rand(shape[-1:]) + 0.3)
    surrogates = (ops.atan(), ops.sigmoid(), ops.integer(3))
    for threshold, surrogate, strict in itertools.product(thresholds, surrogates, [False, True]):
        with torch.set_grad_enabled(grad):
            got, wanted = both(lambda: [ops.spike(membrane, threshold, surrogate, strict)])  # noqa: B023
        assert torch.equal(got[0], wanted[0])


@pytest.mark.parametrize("lags", [1, 3, 4, 8, 9, 40])
@pytest.mark.parametrize("size", [(2, 7, 15), (2, 100, 80)], ids=str)
@pytest.mark.parametrize("with_starts", ["none", "starts"])
def test_sliding_agrees_bit_for_bit(isa: str, lags: int, size: tuple[int, int, int], with_starts: str) -> None:  # noqa: ARG001
    batch, time, width = size
    x, taps, bias = torch.randn(size), torch.randn(width, lags), torch.randn(width)
    past, starts = torch.randn(batch, lags - 1, width), make_starts(batch, time, with_starts)
    got, wanted = both(lambda: ops.sliding(x, taps, bias, past, starts))
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1])


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
            *gradients(lambda x, v: (ops.spike(x, v), v), x, threshold),
            *gradients(lambda x, a, s: viewed(ops.linear_scan(x, a, torch.complex(s, s))), x, turning, state),
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
        ops.lif(torch.randn(2, 5, 3), 0.9)
    tiny = torch.tensor([1e-40]) * torch.tensor([0.5])
    assert tiny.item() > 0
