"""Gradients by finite differences where the path is smooth, first and second order; double backward through spikes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import spikeseq
from spikeseq import DSN, LIF, PRF, Neuron, SlidingPSN, ops

F64, C128 = torch.float64, torch.complex128


def leaf(*shape: int, dtype: torch.dtype = F64, scale: float = 1.0) -> Tensor:
    return (torch.randn(*shape, dtype=dtype) * scale).requires_grad_()


def decays(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=F64).mul_(0.65).add_(0.3).requires_grad_()


def turning(*shape: int) -> Tensor:
    return torch.polar(torch.rand(shape, dtype=F64) * 0.55 + 0.4, torch.rand(shape, dtype=F64) * 4).requires_grad_()


def masks(batch: int, time: int) -> Tensor:
    starts = torch.rand(batch, time) < 0.3
    starts[0, 0] = starts[-1, -1] = True
    return starts


SCANS = {
    "real": lambda b, t, w: (leaf(b, t, w), decays(w), leaf(b, w)),
    "real scalar": lambda b, t, w: (leaf(b, t, w), decays(), leaf(b, w)),
    "complex decay": lambda b, t, w: (leaf(b, t, w), turning(w), leaf(b, w, dtype=C128)),
    "complex input": lambda b, t, w: (leaf(b, t, w, dtype=C128), turning(w), leaf(b, w, dtype=C128)),
    "complex input, real decay": lambda b, t, w: (leaf(b, t, w, dtype=C128), decays(w), leaf(b, w, dtype=C128)),
    "varying": lambda b, t, w: (leaf(b, t, w), decays(b, t, w), leaf(b, w)),
    "varying complex": lambda b, t, w: (leaf(b, t, w), turning(b, t, w), leaf(b, w, dtype=C128)),
    "varying, all complex": lambda b, t, w: (leaf(b, t, w, dtype=C128), turning(b, t, w), leaf(b, w, dtype=C128)),
}
# below and above 32 steps the torch backend has two forms
SIZES = [(2, 1, 2), (2, 5, 2), (1, 33, 1)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize("backend", ["reference", "torch", "fft"])
@pytest.mark.parametrize("kind", SCANS)
def test_linear_scan(kind: str, backend: str, with_starts: bool, size: tuple[int, int, int]) -> None:
    if backend == "fft" and (with_starts or "varying" in kind):
        return  # that it refuses is shown in test_refusals.py
    starts = masks(*size[:2]) if with_starts else None
    with spikeseq.backend(backend):
        assert gradcheck(lambda x, a, z: ops.linear_scan(x, a, z, starts), SCANS[kind](*size))


@pytest.mark.parametrize("size", [(2, 4, 2), (1, 33, 1)], ids=str)
@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize("kind", SCANS)
def test_linear_scan_twice(kind: str, with_starts: bool, size: tuple[int, int, int]) -> None:
    starts = masks(*size[:2]) if with_starts else None
    with spikeseq.backend("torch"):
        assert gradgradcheck(lambda x, a, z: ops.linear_scan(x, a, z, starts), SCANS[kind](*size))


def lif_membrane(reset: str) -> Callable:
    def call(x: Tensor, decay: Tensor, state: Tensor, starts: Tensor | None):
        return ops.lif(x, decay, 0.8, state, starts, reset=reset, rho=0.9, output="membrane")

    return call


def prf_membrane(reset: str) -> Callable:
    def call(x: Tensor, decay: Tensor, gain: Tensor, state: Tensor, starts: Tensor | None):
        return ops.prf(x, decay, gain, 0.8, state, starts, reset=reset, rho=0.9, output="membrane")

    return call


def dsn_membrane(x: Tensor, gate: Tensor, state: Tensor, starts: Tensor | None):
    return ops.dsn(x, gate, 0.7, 1.0, state, starts, output="membrane")


def conv_dsn_membrane(x: Tensor, weight: Tensor, bias: Tensor, state: Tensor, history: Tensor, starts: Tensor | None):
    y, (end, last) = ops.conv_dsn(x, weight, bias, 0.7, 1.0, (state, history), starts, output="membrane")
    return y, end, last


# With the reset detached and no decision on its edge, the membrane of a reset neuron is smooth piecewise, so finite
# differences see the detached gradient there too.
MEMBRANES = {
    "lif none": (lif_membrane("none"), lambda b, t, w: (leaf(b, t, w), decays(w), leaf(b, w))),
    "lif soft": (lif_membrane("soft"), lambda b, t, w: (leaf(b, t, w, scale=2), decays(w), leaf(b, w))),
    "lif hard": (lif_membrane("hard"), lambda b, t, w: (leaf(b, t, w, scale=2), decays(w), leaf(b, w))),
    "prf none": (prf_membrane("none"), lambda b, t, w: (leaf(b, t, w), turning(w), decays(w), leaf(b, w, dtype=C128))),
    "prf soft": (prf_membrane("soft"),
                 lambda b, t, w: (leaf(b, t, w, scale=2), turning(w), decays(w), leaf(b, w, dtype=C128))),
    "dsn": (dsn_membrane, lambda b, t, w: (leaf(b, t, w), leaf(b, t, w), leaf(b, w))),
    "conv dsn": (conv_dsn_membrane, lambda b, t, w: (leaf(b, t, w), leaf(w, 3), leaf(w), leaf(b, w), leaf(b, 2, w))),
    "sliding 1": (ops.sliding, lambda b, t, w: (leaf(b, t, w), leaf(w, 1), leaf(w), leaf(b, 0, w))),
    "sliding 4": (ops.sliding, lambda b, t, w: (leaf(b, t, w), leaf(w, 4), leaf(w), leaf(b, 3, w))),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize("backend", ["reference", "torch", "fft"])
@pytest.mark.parametrize("name", MEMBRANES)
def test_membrane(name: str, backend: str, with_starts: bool, size: tuple[int, int, int]) -> None:
    if backend == "fft" and (with_starts or name == "lif hard" or "dsn" in name or "sliding" in name):
        return
    call, inputs = MEMBRANES[name]
    starts = masks(*size[:2]) if with_starts else None
    with spikeseq.backend(backend):
        assert gradcheck(lambda *given: call(*given, starts), inputs(*size))


@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize("name", MEMBRANES)
def test_membrane_twice(name: str, with_starts: bool) -> None:
    call, inputs = MEMBRANES[name]
    starts = masks(2, 4) if with_starts else None
    with spikeseq.backend("torch"):
        assert gradgradcheck(lambda *given: call(*given, starts), inputs(2, 4, 2))


NEURONS: dict[str, Callable[[], Neuron]] = {
    "LIF": lambda: LIF(2, decay=[0.7, 0.9], train_decay=True, reset="none", output="membrane"),
    "PRF": lambda: PRF(2, dt_min=0.3, dt_max=0.9, train_tau=True, output="membrane"),
    "PRF zoh": lambda: PRF(2, dt_min=0.3, dt_max=0.9, train_tau=True, discretization="zoh", output="membrane"),
    "DSN conv": lambda: DSN(2, kernel_size=3, output="membrane"),
    "DSN linear": lambda: DSN(2, decay="linear", output="membrane"),
    "DSN none": lambda: DSN(2, decay="none", output="membrane"),
    "SlidingPSN": lambda: SlidingPSN(2, order=3, output="membrane"),
}


@pytest.mark.parametrize("backend", ["reference", "torch"])
@pytest.mark.parametrize("name", NEURONS)
def test_parameters(name: str, backend: str) -> None:
    """Every parameter of every smooth neuron, by finite differences."""
    neuron = NEURONS[name]().double()
    names = [n for n, _ in neuron.named_parameters()]
    values = tuple(p.detach().clone().requires_grad_() for p in neuron.parameters())

    def call(x: Tensor, *parameters: Tensor):
        return torch.func.functional_call(neuron, dict(zip(names, parameters, strict=True)), (x,))[0]

    moved = [n for n in names if n != "threshold"]  # a firing threshold does not touch the membrane
    assert moved
    with spikeseq.backend(backend):
        assert gradcheck(call, (leaf(2, 6, 2), *values))


WEIGHT = torch.tensor([[0.3, -0.5, 0.2], [1.0, 0.5, 0.25], [-0.4, 0.1, 0.9]])


def one_end(result: tuple[Tensor, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    y, (end, history) = result
    return y, end + history.sum(1)


SPIKING = {
    "lif soft": lambda x, v, z, s: ops.lif(x, 0.8, v, z, s),
    "lif hard": lambda x, v, z, s: ops.lif(x, 0.8, v, z, s, reset="hard", surrogate=ops.sigmoid()),
    "lif none": lambda x, v, z, s: ops.lif(x, 0.8, v, z, s, reset="none"),
    "lif levels": lambda x, v, z, s: ops.lif(x, 0.8, v, z, s, surrogate=ops.integer(3)),
    "prf none": lambda x, v, z, s: ops.prf(x, 0.6 + 0.6j, 0.7, v, torch.complex(z, z), s),
    "prf soft": lambda x, v, z, s: ops.prf(x, 0.6 + 0.6j, 0.7, v, torch.complex(z, z), s, reset="soft"),
    "dsn": lambda x, v, z, s: ops.dsn(x, 0.3 * x, 0.5, v, z, s, surrogate=ops.atan()),
    "conv dsn": lambda x, v, z, s: one_end(
        ops.conv_dsn(x, WEIGHT.to(x.dtype), None, 0.5, v, (z, torch.stack([z, -z], 1)), s, surrogate=ops.atan())
    ),
}


@pytest.mark.parametrize("backend", ["reference", "torch", "native", "fft"])
@pytest.mark.parametrize("name", SPIKING)
def test_a_differentiable_gradient_is_the_gradient(name: str, backend: str) -> None:
    """`create_graph=True` changes nothing in the first order: scalar parameters, a carried state that depends on them,
    an input in another layout, a gate that is a function of the input.
    """
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    if backend == "fft" and name in ("lif hard", "lif levels", "dsn", "conv dsn"):
        return
    dtype = torch.float32 if backend == "native" else F64
    found = []
    for create_graph in (False, True):
        noise = torch.Generator().manual_seed(5)
        x = torch.randn(2, 3, 40, generator=noise, dtype=F64).to(dtype).requires_grad_()
        v = torch.tensor(0.9, dtype=dtype, requires_grad=True)
        scale = torch.tensor(1.1, dtype=dtype, requires_grad=True)
        z = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
        turned = x.transpose(1, 2) * scale
        with spikeseq.backend(backend):
            first, middle = SPIKING[name](turned[:, :17], v, z, None)
            if middle.is_complex():
                middle = middle.real + middle.imag
            second, end = SPIKING[name](turned[:, 17:], v * scale, middle * scale, None)
        weight = torch.randn(40, 3, generator=noise, dtype=F64).to(dtype)
        loss = (torch.cat([first, second], 1) * weight).sum() + end.abs().square().sum()
        found.append(torch.autograd.grad(loss, (x, v, scale, z), create_graph=create_graph, materialize_grads=True))
    for plain, differentiable in zip(*found, strict=True):
        tolerance = (1e-4 if dtype == torch.float32 else 1e-10) * (1 + plain.abs().max().item())
        assert (plain - differentiable).abs().max().item() <= tolerance


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("name", SPIKING)
def test_a_state_made_from_the_input_counts_once(name: str, backend: str) -> None:
    """An encoder may make the first state from the sequence: no gradient may then be counted twice."""
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    x, v = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(), torch.full((3,), 0.9)
    found = []
    with spikeseq.backend(backend):
        for create_graph in (False, True):
            spikes, end = SPIKING[name](x, v, x.mean(1), None)
            found.append(torch.autograd.grad(spikes.sum() + end.abs().sum(), x, create_graph=create_graph)[0])
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


def second_order(name: str, dtype: torch.dtype, starts: Tensor | None) -> list[Tensor]:
    noise = torch.Generator().manual_seed(5)
    x = torch.randn(2, 37, 3, generator=noise, dtype=F64).to(dtype).requires_grad_()
    v = torch.full((3,), 0.9, dtype=dtype, requires_grad=True)
    z = (torch.randn(2, 3, generator=noise, dtype=F64) * 0.2).to(dtype).requires_grad_()
    spikes, end = SPIKING[name](x, v, z, starts)
    weight = torch.randn(spikes.shape, generator=noise, dtype=F64).to(dtype)
    first = torch.autograd.grad((spikes * weight).sum() + end.abs().square().sum(), (x, v, z), create_graph=True)
    total = torch.stack([(g * g).sum() for g in first]).sum()
    return [g.detach() for g in first] + list(torch.autograd.grad(total, (x, v, z)))


@pytest.mark.parametrize("with_starts", [False, True])
@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("name", SPIKING)
def test_double_backward_through_spikes(name: str, backend: str, with_starts: bool) -> None:
    """The surrogate's derivative can be differentiated in turn; every backend gives what torch gives the definition."""
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    dtype = torch.float32 if backend == "native" else F64
    starts = masks(2, 37) if with_starts else None
    with spikeseq.backend("reference"):
        wanted = second_order(name, dtype, starts)
    with spikeseq.backend(backend):
        got = second_order(name, dtype, starts)
    for g, w in zip(got, wanted, strict=True):
        assert bool(torch.isfinite(g).all())
        assert torch.allclose(
            g,
            w,
            rtol=1e-3 if dtype == torch.float32 else 1e-9,
            atol=1e-4 * w.abs().max().item() if dtype == torch.float32 else 1e-9,
        )


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("name", ["lif soft", "lif hard", "prf soft"])
def test_double_backward_where_only_the_threshold_learns(name: str, backend: str) -> None:
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    x, z = torch.randn(2, 9, 3), torch.zeros(2, 3)
    v = torch.ones(3, requires_grad=True)
    with spikeseq.backend(backend):
        spikes, _ = SPIKING[name](x, v, z, None)
        (first,) = torch.autograd.grad(spikes.sum(), v, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), v)
    with spikeseq.backend("reference"):
        (wanted,) = torch.autograd.grad(SPIKING[name](x, v, z, None)[0].sum(), v, create_graph=True)
        (wanted_second,) = torch.autograd.grad(wanted.sum(), v)
    assert torch.allclose(first, wanted, atol=1e-5)
    assert torch.allclose(second, wanted_second, atol=1e-4)
