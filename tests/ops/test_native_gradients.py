"""The native kernels' gradients held to the reference's, on every instruction set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import ops
from tests.ops.kernels import both, gradients, make_starts, unpacked, viewed

SURROGATES = [ops.atan(), ops.rect(0.7), ops.sigmoid(3.0), ops.triangle(1.5), ops.integer(3)]


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
        (lambda x, v: (ops.spike(x, v, surrogate), v), (x, threshold)),
        (lambda x, a, s: ops.linear_scan(x, a, s, starts), (x, gate.sigmoid(), state)),
        (lambda x, a, s: viewed(ops.linear_scan(x, a, s, starts)), (x, turning, z)),
    ]
    for lags in (1, 4, 8, 9):
        taps, past = torch.randn(width, lags) * 0.5, torch.randn(batch, lags - 1, width)
        calls.append((lambda x, w, b, s: ops.sliding(x, w, b, s, starts), (x, taps, threshold, past)))
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
        (lambda x, a, s: viewed(ops.linear_scan(x, a, s, starts)), (x, turning, z)),
        (lambda x, a, s: viewed(ops.linear_scan(torch.complex(x, -x), a, s, starts)), (x, turning, z)),
    ]
    for i, (call, given) in enumerate(calls):
        for j, (g, w) in enumerate(zip(*both(lambda: gradients(call, *given)), strict=True)):  # noqa: B023
            error = (g - w).abs().max().item()
            assert error <= 1e-4 * (1 + w.abs().max().item()), f"call {i}, result {j}: off by {error}"
