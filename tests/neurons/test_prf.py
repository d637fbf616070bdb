"""What is PRF's own: the closed forms of arXiv 2410.03530 and its initial values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import LIF, PRF
from spikeseq.neurons.rotation import rotation

F64 = torch.float64


def fixed(dt: list[float], theta: list[float], **options) -> PRF:
    """A PRF with known steps and frequencies, in float64."""
    neuron = PRF(len(dt), **options).double()
    with torch.no_grad():
        neuron.log_dt.copy_(torch.tensor(dt, dtype=F64).log())
        neuron.log_theta.copy_(torch.tensor(theta, dtype=F64).clamp(min=1e-300).log())
    return neuron


@pytest.mark.parametrize("tau", [2.0, 5.0, 100.0])
@pytest.mark.parametrize("backend", ["reference", "torch", "fft"])
def test_impulse_response(tau: float, backend: str) -> None:
    """dt e^{-k dt / tau} cos(k dt theta)."""
    dt, theta = [0.001, 0.05, 0.5], [6.0, 2.0, 0.3]
    x = torch.zeros(1, 300, 3, dtype=F64)
    x[0, 0] = 1
    with spikeseq.backend(backend):
        u, _ = fixed(dt, theta, tau=tau, output="membrane")(x)
    step, angle, k = (
        torch.tensor(dt, dtype=F64),
        torch.tensor(theta, dtype=F64),
        torch.arange(300, dtype=F64).unsqueeze(1),
    )
    assert torch.allclose(u[0], step * torch.exp(-k * step / tau) * torch.cos(k * step * angle), rtol=1e-11, atol=1e-13)


def test_real_form() -> None:
    """u_t = a u - c r + dt x; r_t = c u + a r, one step at a time."""
    neuron = fixed([0.3, 0.7], [1.0, 2.5], tau=3.0, output="membrane")
    dt = torch.tensor([0.3, 0.7], dtype=F64)
    angle = dt * torch.tensor([1.0, 2.5], dtype=F64)
    a, c = torch.exp(-dt / 3) * angle.cos(), torch.exp(-dt / 3) * angle.sin()
    x = torch.randn(1, 20, 2, dtype=F64)
    u, r = torch.zeros(1, 2, dtype=F64), torch.zeros(1, 2, dtype=F64)
    wanted = []
    for x_t in x.unbind(1):
        u, r = a * u - c * r + dt * x_t, c * u + a * r
        wanted.append(u)
    got, state = neuron(x)
    assert torch.allclose(got, torch.stack(wanted, 1), rtol=1e-12)
    assert torch.allclose(state, torch.complex(u, r), rtol=1e-12)


def test_theorem_2_dt_one_theta_zero_is_lif_without_reset() -> None:
    for tau in (1.5, 2.0, 10.0):
        x = torch.randn(3, 200, 4, dtype=F64)
        prf, z = fixed([1.0] * 4, [0.0] * 4, tau=tau)(x)
        decay = torch.tensor(math.exp(-1 / tau), dtype=F64)
        lif, v = spikeseq.ops.lif(x, decay, reset="none")
        assert torch.equal(prf, lif)
        assert torch.allclose(z.real, v, rtol=1e-12)
        assert 0.01 < lif.mean().item() < 0.99


def test_soft_reset_with_theta_zero_is_lif() -> None:
    x = torch.randn(3, 200, 4, dtype=F64)
    prf, z = fixed([1.0] * 4, [0.0] * 4, tau=4.0, reset="soft")(x)
    lif, v = spikeseq.ops.lif(x, torch.tensor(math.exp(-1 / 4), dtype=F64))
    assert torch.equal(prf, lif)
    assert torch.allclose(z.real, v, rtol=1e-12)


@pytest.mark.parametrize("backend", ["reference", "torch", "fft"])
def test_soft_reset_is_the_complex_bias_form(backend: str) -> None:
    """b <- A (b + V s), d = V + Re b, on the membrane that never resets."""
    dt, theta = [0.3, 0.6, 1.0], [2.0, 1.0, 3.0]
    x = torch.randn(2, 150, 3, dtype=F64) * 2 + 0.5
    free, _ = fixed(dt, theta, output="membrane")(x)
    a = fixed(dt, theta).coefficients()[0].detach()
    bias = torch.zeros(2, 3, dtype=torch.complex128)
    wanted = []
    for u in free.detach().unbind(1):
        s = (u >= 1 + bias.real).to(F64)
        bias = a * (bias + s)
        wanted.append(s)
    with spikeseq.backend(backend):
        spikes, _ = fixed(dt, theta, reset="soft")(x)
    assert torch.equal(spikes, torch.stack(wanted, 1))
    plain, _ = fixed(dt, theta)(x)
    assert 0.02 < spikes.mean().item() < plain.mean().item()


def test_zoh_holds_a_constant_input_exactly() -> None:
    """At theta = 0, dv/dt = -v / tau + c has v(n dt) = c tau (1 - e^{-n dt / tau}), whatever dt."""
    n = torch.arange(1, 51, dtype=F64)
    for dt in (0.01, 0.5, 3.0):
        u, _ = fixed([dt], [0.0], tau=2.0, discretization="zoh", output="membrane")(
            torch.full((1, 50, 1), 0.7, dtype=F64)
        )
        assert torch.allclose(u.flatten(), 0.7 * 2.0 * -torch.expm1(-n * dt / 2.0), rtol=1e-10)
    small = fixed([1e-6], [1.0], discretization="zoh").coefficients()[1]
    assert torch.allclose(small, torch.tensor(1e-6, dtype=F64), rtol=1e-5)  # and Euler's gain in the limit


def variance(v: float, dt: Tensor, a: Tensor) -> Tensor:
    return dt**2 * v / 2 * (1 / (1 - a.abs() ** 2) + (1 / (1 - a**2)).real)


def test_variance_at_init_explains_the_silence() -> None:
    """White N(0, 1) input barely reaches the threshold: rate <= 2e-5 or so at the default init."""
    neuron = PRF(512, output="membrane")
    x = torch.randn(2, 4096, 512)
    with torch.no_grad():
        u, _ = neuron(x)
        a, dt = neuron.coefficients()
    wanted = variance(1.0, dt, a)
    assert u[:, 2048:].var((0, 1)).mean().item() == pytest.approx(wanted.mean().item(), rel=0.1)
    neuron.output = "spikes"
    with torch.no_grad():
        assert neuron(x)[0].mean().item() <= 1e-4


def test_even_silent_it_learns() -> None:
    """atan's heavy tail reaches every parameter where no channel fires."""
    neuron = PRF(16, train_tau=True)
    spikes, _ = neuron(torch.randn(2, 64, 16) * 0.1)
    assert spikes.sum().item() == 0
    spikes.sum().backward()
    for p in neuron.parameters():
        assert p.grad is not None
        assert bool((p.grad != 0).all())


@pytest.mark.parametrize("zoh", [False, True])
@pytest.mark.parametrize("train_tau", [False, True])
def test_gradients_of_the_coefficients_are_exact(train_tau: bool, zoh: bool) -> None:
    """Also differentiated twice, and with a gradient for one of the two alone."""
    parameters = [torch.randn(5, dtype=F64, requires_grad=True) for _ in range(2 + train_tau)]

    def both(log_dt: Tensor, log_theta: Tensor, log_tau: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return rotation(log_dt, log_theta, log_tau, 1.7, zoh)

    for call in (both, lambda *given: both(*given)[0], lambda *given: both(*given)[1]):
        assert torch.autograd.gradcheck(call, parameters)
        assert torch.autograd.gradgradcheck(call, parameters)
    with torch.no_grad():
        plain = both(*parameters)
    assert all(torch.equal(got, wanted) for got, wanted in zip(both(*parameters), plain, strict=True))


def test_parameters_may_change_before_the_way_back() -> None:
    with torch.inference_mode():
        neuron = PRF(3)
    neuron(torch.randn(1, 5, 3))
    neuron = PRF(3)
    out, _ = neuron(torch.randn(1, 5, 3))
    (wanted,) = torch.autograd.grad(out.sum(), neuron.log_dt, retain_graph=True)
    with torch.no_grad():
        neuron.log_dt.add_(0.1)
    (got,) = torch.autograd.grad(out.sum(), neuron.log_dt)
    assert torch.equal(got, wanted)


def test_initial_values() -> None:
    neuron = PRF(20_000)
    dt, theta = neuron.log_dt.detach(), neuron.log_theta.detach().exp()
    assert dt.exp().min().item() >= 1e-3 * 0.999
    assert dt.exp().max().item() <= 1e-1 * 1.001
    quantiles = torch.quantile(dt, torch.tensor([0.25, 0.5, 0.75])) / math.log(10)
    assert quantiles.tolist() == pytest.approx([-2.5, -2.0, -1.5], abs=0.05)  # uniform in the logarithm
    assert theta.min().item() > 0
    assert theta.max().item() <= 2 * math.pi * 1.001
    assert theta.mean().item() == pytest.approx(math.pi, rel=0.02)
    assert torch.quantile(theta, 0.25).item() == pytest.approx(math.pi / 2, rel=0.05)
    assert {n for n, _ in neuron.named_parameters()} == {"log_dt", "log_theta"}
    assert {n for n, _ in PRF(2, train_tau=True).named_parameters()} == {"log_dt", "log_theta", "log_tau"}
    assert torch.allclose(PRF(5, tau=100.0, train_tau=True).log_tau, torch.tensor(math.log(100.0)))
    assert PRF(4, theta_max=0.5).log_theta.exp().max().item() <= 0.5


def test_decay_is_inside_the_unit_circle() -> None:
    a, gain = PRF(1000, dt_min=1e-6, dt_max=50.0, train_tau=True).coefficients()
    assert a.abs().max().item() < 1
    assert gain.min().item() > 0


def test_trained_tau_is_the_fixed_one_at_first() -> None:
    torch.manual_seed(1)
    fixed_tau = PRF(8, tau=3.0)
    torch.manual_seed(1)
    trained = PRF(8, tau=3.0, train_tau=True)
    x = torch.randn(2, 50, 8)
    for got, wanted in zip(trained(x), fixed_tau(x), strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_cost_is_the_papers() -> None:
    assert PRF(7).dynamics_cost() == {"multiplies": 35, "accumulates": 21}
    assert LIF(7).dynamics_cost()["multiplies"] < 35


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "PRF: expected tau > 0, got 0.0"), ({"tau": -2.0}, "PRF: expected tau > 0, got -2.0"),
        ({"tau": math.nan}, "PRF: expected tau > 0, got nan"), ({"tau": math.inf}, "PRF: expected tau > 0, got inf"),
        ({"dt_min": 0.2, "dt_max": 0.1}, "PRF: expected 0 < dt_min <= dt_max, got 0.2, 0.1"),
        ({"dt_min": 0.0}, "PRF: expected 0 < dt_min <= dt_max"),
        ({"dt_max": math.inf}, "PRF: expected 0 < dt_min <= dt_max"),
        ({"dt_min": math.nan}, "PRF: expected 0 < dt_min <= dt_max"),
        ({"theta_max": 0.0}, "PRF: expected theta_max > 0, got 0.0"),
        ({"threshold": 0.0}, "PRF: expected threshold > 0, got 0.0"),
        ({"reset": "hard"}, "PRF: expected reset to be one of .*'hard'"),
        ({"discretization": "bilinear"}, "PRF: expected discretization to be one of .*euler.*zoh"),
        ({"levels": 0}, "levels"),
    ],
    ids=lambda o: str(o)[:40],
)  # fmt: skip
def test_wrong_options_at_construction(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PRF(3, **options)
