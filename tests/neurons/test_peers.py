"""The same, against the libraries themselves where they are installed: never a dependency, `pytest -m peers`."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from spikeseq import DSN, LIF, PRF, PSN, MaskedPSN, SlidingPSN, ops

pytestmark = pytest.mark.peers
F64 = torch.float64


@pytest.fixture(autouse=True)
def _double() -> object:
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def jelly() -> Any:
    reason = "spikingjelly is not installed (pip install --no-deps spikingjelly loguru)"
    return pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)


@pytest.fixture
def snn() -> Any:
    return pytest.importorskip("snntorch", reason="snntorch is not installed (pip install snntorch)")


def surrogates_of(library: str) -> Any:
    return importlib.import_module(f"{library}.surrogate")


def drive(gain: float = 1.0) -> Tensor:
    return ((torch.randn(4, 400, 32) * 0.8 + 0.25) / gain).requires_grad_()


def compare(ours: Tensor, theirs: Tensor) -> None:
    assert int((ours != theirs).sum()) == 0
    assert 0.02 < (theirs > 0).double().mean().item() < 0.98


def jelly_run(node, x: Tensor) -> Tensor:
    """Their multi-step mode has time first."""
    return node(x.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("tau", [2.0, 3.0, 20.0])
@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("decay_input", [False, True])
def test_spikingjelly_lif(jelly, tau: float, v_reset: float | None, decay_input: bool) -> None:
    surrogate = surrogates_of("spikingjelly.activation_based")
    x = drive(1 / tau if decay_input else 1.0)
    node = jelly.LIFNode(
        tau=tau,
        decay_input=decay_input,
        v_reset=v_reset,
        detach_reset=True,
        step_mode="m",
        surrogate_function=surrogate.ATan(2.0),
    )
    theirs = jelly_run(node, x)
    neuron = LIF(
        32, decay=1 - 1 / tau, input_gain=1 / tau if decay_input else 1.0, reset="soft" if v_reset is None else "hard"
    )
    ours, state = neuron(x)
    compare(ours, theirs)
    assert torch.allclose(state, node.v, rtol=1e-9, atol=1e-12)
    weight = torch.linspace(-1, 1, ours.numel()).view(ours.shape)
    (wanted,) = torch.autograd.grad((theirs * weight).sum(), x)
    (got,) = torch.autograd.grad((ours * weight).sum(), x)
    assert torch.allclose(got, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("threshold", [1.0, 0.6])
def test_snntorch_leaky(snn, beta: float, threshold: float) -> None:
    surrogate = surrogates_of("snntorch")
    x = drive()
    leaky = snn.Leaky(
        beta=torch.tensor(beta), threshold=threshold, reset_mechanism="subtract", spike_grad=surrogate.atan(alpha=2.0)
    )
    mem = torch.zeros(4, 32)
    spikes = []
    for x_t in x.unbind(1):
        s, mem = leaky(x_t, mem)
        spikes.append(s)
    theirs = torch.stack(spikes, 1)
    ours, _ = LIF(32, decay=beta, threshold=threshold, rho=threshold / beta, strict=True)(x)
    compare(ours, theirs)
    weight = torch.linspace(-1, 1, ours.numel()).view(ours.shape)
    (wanted,) = torch.autograd.grad((theirs * weight).sum(), x)
    (got,) = torch.autograd.grad((ours * weight).sum(), x)
    assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-6)  # theirs comes back through float32 spikes


@pytest.mark.parametrize("levels", [1, 4])
def test_spikingjelly_ilif(jelly, levels: int) -> None:
    if not hasattr(jelly, "ILIFNode"):
        pytest.skip("this spikingjelly has no ILIFNode")
    surrogate = surrogates_of("spikingjelly.activation_based")
    x = drive() * 2
    node = jelly.ILIFNode(tau=2.0, surrogate_function=surrogate.MultiLevelSpikeCount(levels), step_mode="m")
    compare(LIF(32, decay=0.5, levels=levels)(x)[0], jelly_run(node, x))


@pytest.mark.parametrize("steps", [5, 32])
def test_spikingjelly_psn(jelly, steps: int) -> None:
    x = torch.randn(4, steps, 8)
    theirs = jelly.PSN(T=steps).to(F64)
    ours = PSN(8, steps=steps)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
        theirs.bias.copy_(torch.randn(steps, 1) - 0.5)
        ours.threshold.copy_(-theirs.bias.flatten())
    compare(ours(x)[0], jelly_run(theirs, x))


@pytest.mark.parametrize("order", [1, 4])
def test_spikingjelly_masked_psn(jelly, order: int) -> None:
    x = torch.randn(4, 24, 8) * 8
    theirs = jelly.MaskedPSN(k=order, T=24, lambda_init=1.0, step_mode="m").to(F64)
    ours = MaskedPSN(8, steps=24, order=order)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
        ours.threshold.copy_(-theirs.bias.flatten())
    compare(ours(x)[0], jelly_run(theirs, x))


@pytest.mark.parametrize("order", [1, 4])
def test_spikingjelly_sliding_psn(jelly, order: int) -> None:
    x = torch.randn(4, 60, 8)
    theirs = jelly.SlidingPSN(k=order, step_mode="m").to(F64)
    ours = SlidingPSN(8, order=order)
    assert torch.equal(ours.weight.detach(), theirs.weight.detach().flatten().to(F64))  # the initial values too
    with torch.no_grad():
        theirs.weight.copy_(torch.randn_like(theirs.weight))
        ours.weight.copy_(theirs.weight.flatten())
        ours.threshold.copy_(-theirs.bias.flatten()[0])
    compare(ours(x)[0], jelly_run(theirs, x))


@pytest.mark.parametrize("alpha", [2.0, 0.7])
def test_atan_is_theirs(jelly, snn, alpha: float) -> None:  # noqa: ARG001
    snn_surrogate, jelly_surrogate = surrogates_of("snntorch"), surrogates_of("spikingjelly.activation_based")
    z = torch.linspace(-3, 3, 101)
    grads = []
    for fire in (ops.atan(alpha), jelly_surrogate.ATan(alpha), snn_surrogate.atan(alpha)):
        u = z.clone().requires_grad_()
        s = ops.spike(u, 0.0, fire) if isinstance(fire, ops.Surrogate) else fire(u)
        s.sum().backward()
        grads.append(u.grad)
    assert torch.allclose(grads[0], grads[1], atol=1e-12)
    assert torch.allclose(grads[0], grads[2], atol=1e-7)


def test_spikingjelly_raf(jelly) -> None:
    """Threshold off: z = u + i v, the input into u without a gain. PRF with dt = 1 and their dt in the rates."""
    b, omega, dt = -0.5, 3.0, 0.1
    x = torch.randn(1, 200, 1)
    node = jelly.RAFNode(b=b, omega=omega, dt=dt, v_threshold=1e9, v_reset=None, step_mode="s")
    neuron = PRF(1, tau=-1 / (b * dt), dt_min=1.0, dt_max=1.0, output="membrane")
    with torch.no_grad():
        neuron.log_theta.fill_(math.log(omega * dt))
    wanted = []
    for x_t in x.unbind(1):
        node(x_t)
        wanted.append(torch.complex(node.u, node.v))
    u, z = neuron(x)
    assert torch.allclose(u, torch.stack(wanted, 1).real, rtol=1e-9, atol=1e-12)
    assert torch.allclose(z, wanted[-1], rtol=1e-9, atol=1e-12)


def test_their_defects_are_not_ours(jelly) -> None:
    """A sliding PSN that forgets its inputs between chunks; DSN and PRF carry theirs as well."""
    x = torch.randn(2, 20, 8)
    theirs = jelly.SlidingPSN(k=4, step_mode="m").to(F64)
    whole = jelly_run(theirs, x)
    halves = torch.cat([jelly_run(theirs, x[:, :10]), jelly_run(theirs, x[:, 10:])], 1)
    forgets = not torch.equal(whole, halves)
    for neuron in (SlidingPSN(8, order=4), DSN(8), PRF(8, dt_min=0.5, dt_max=1.0), LIF(8, decay=math.exp(-0.5))):
        ours, _ = neuron(x)
        first, state = neuron(x[:, :10])
        second, _ = neuron(x[:, 10:], state)
        assert torch.equal(torch.cat([first, second], 1), ours)
    if not forgets:
        pytest.skip("this spikingjelly remembers: the comparison in the documentation is out of date")
