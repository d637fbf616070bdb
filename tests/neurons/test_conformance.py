"""The spikes of other libraries, from each one's own update rule written as a loop. float64, no decision differs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import LIF, PRF

F64 = torch.float64
SIZE = (4, 400, 32)


@pytest.fixture(autouse=True)
def _double() -> object:
    """Leaks such as 1 - 1/3 are float64 numbers; a module made under this default holds them as such."""
    torch.set_default_dtype(F64)
    yield
    torch.set_default_dtype(torch.float32)


def drive(gain: float = 1.0) -> Tensor:
    return (torch.randn(SIZE) * 0.8 + 0.25) / gain


def loop(rule, x: Tensor) -> Tensor:
    """rule(v, x_t) -> (spikes, v), from v = 0."""
    v, spikes = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        s, v = rule(v, x_t)
        spikes.append(s)
    return torch.stack(spikes, 1)


def ge(a: Tensor, b: float = 1.0) -> Tensor:
    return (a >= b).to(a.dtype)


def gt(a: Tensor, b: float = 1.0) -> Tensor:
    return (a > b).to(a.dtype)


def same_spikes(neuron: LIF, wanted: Tensor, x: Tensor) -> None:
    for backend in ("reference", "torch"):
        with spikeseq.backend(backend):
            spikes, _ = neuron(x)
        assert int((spikes != wanted).sum()) == 0
    assert 0.02 < (wanted > 0).double().mean().item() < 0.98


@pytest.mark.parametrize("tau", [2.0, 3.0, 20.0])
@pytest.mark.parametrize("v_reset", [None, 0.0])
@pytest.mark.parametrize("decay_input", [False, True])
def test_spikingjelly_lif(tau: float, v_reset: float | None, decay_input: bool) -> None:
    """v = v + (x - v) / tau, or v = v - v / tau + x; then v -= V s, or v = 0."""
    x = drive(1 / tau if decay_input else 1.0)

    def rule(v: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        u = v + (x_t - v) / tau if decay_input else v - v / tau + x_t
        s = ge(u)
        return s, u - s if v_reset is None else (1 - s) * u

    neuron = LIF(
        32, decay=1 - 1 / tau, input_gain=1 / tau if decay_input else 1.0, reset="soft" if v_reset is None else "hard"
    )
    same_spikes(neuron, loop(rule, x), x)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("threshold", [1.0, 0.6])
def test_snntorch_leaky(beta: float, threshold: float) -> None:
    """mem = beta mem + x - reset * V with the reset of the step before, taken from the membrane after the leak."""
    x = drive()
    mem, spikes = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        reset = gt(mem, threshold)
        mem = beta * mem + x_t - reset * threshold
        spikes.append(gt(mem, threshold))
    same_spikes(LIF(32, decay=beta, threshold=threshold, rho=threshold / beta, strict=True), torch.stack(spikes, 1), x)


@pytest.mark.parametrize("a", [0.1, 0.4])
@pytest.mark.parametrize("hard", [False, True])
def test_norse(a: float, hard: bool) -> None:
    """v = v + dt tau_mem_inv ((0 - v) + i), then the reset: LIFBox subtracts, LIF (tau_syn_inv = 1/dt) zeroes."""
    x = drive(a)

    def rule(v: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        u = v + a * ((0 - v) + x_t)
        s = gt(u)
        return s, u * (1 - s) if hard else u - s

    same_spikes(LIF(32, decay=1 - a, input_gain=a, strict=True, reset="hard" if hard else "soft"), loop(rule, x), x)


@pytest.mark.parametrize("tau", [2.0, 20.0])
@pytest.mark.parametrize("norm_input", [False, True])
def test_sinabs(tau: float, norm_input: bool) -> None:
    """alpha = exp(-1/tau); v = alpha v + x, or + (1 - alpha) x; SingleSpike, then v -= V s."""
    alpha = math.exp(-1 / tau)
    gain = 1 - alpha if norm_input else 1.0
    x = drive(gain)

    def rule(v: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        u = alpha * v + gain * x_t
        s = ge(u)
        return s, u - s

    same_spikes(LIF(32, decay=alpha, input_gain=gain), loop(rule, x), x)


@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_spikingjelly_ilif(levels: int, threshold: float) -> None:
    """s = round(clip(u / V, 0, D)); v = u - V s."""
    x = drive() * 2

    def rule(v: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
        u = v - v / 2 + x_t
        s = (u / threshold).clamp(0, levels).round()
        return s, u - threshold * s

    same_spikes(LIF(32, decay=0.5, threshold=threshold, levels=levels), loop(rule, x), x)


def test_spikingjelly_raf() -> None:
    """z = e^{(b + i omega) dt} z + dt x, threshold off, in closed form: a sum of decaying cosines."""
    b, omega, dt = -0.5, 3.0, 0.1
    neuron = PRF(1, tau=-1 / b, dt_min=dt, dt_max=dt, output="membrane")
    with torch.no_grad():
        neuron.log_theta.fill_(math.log(omega))
    x = torch.randn(1, 200, 1)
    z, wanted = torch.zeros((), dtype=torch.complex128), []
    turn = torch.exp(torch.tensor((b + 1j * omega) * dt, dtype=torch.complex128))
    for x_t in x.flatten():
        z = turn * z + dt * x_t
        wanted.append(z.real)
    assert torch.allclose(neuron(x)[0].flatten(), torch.stack(wanted), rtol=1e-10, atol=1e-12)


def test_state_after_and_before_the_reset() -> None:
    """spikingjelly and sinabs keep the membrane after the reset, as here; snntorch before it."""
    x = drive()
    neuron = LIF(32, decay=0.9)
    spikes, state = neuron(x)
    neuron.output = "membrane"
    before, _ = neuron(x)
    assert torch.allclose(before[:, -1] - spikes[:, -1], state)


def test_tau_two_is_exact_in_float32() -> None:
    x = drive().float()
    v, spikes = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        u = v - v / 2 + x_t
        s = ge(u)
        v = u - s
        spikes.append(s)
    assert torch.equal(LIF(32, decay=0.5)(x)[0], torch.stack(spikes, 1))
