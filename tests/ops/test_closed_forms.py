"""Operations against answers known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

import spikeseq
from spikeseq import ops

F64 = torch.float64
SERVING = {"reference": F64, "torch": F64, "native": torch.float32, "fft": F64}


@pytest.fixture(params=SERVING)
def backend(request: pytest.FixtureRequest) -> str:
    if spikeseq.backends()[request.param] is not None:
        pytest.skip(str(spikeseq.backends()[request.param]))
    return request.param


def close(a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> bool:
    tolerance = (2e-5 if a.dtype in (torch.float32, torch.complex64) else 1e-11) * scale
    return torch.allclose(a, b.to(a.dtype), rtol=tolerance, atol=tolerance)


def test_impulse_response_of_the_leak(backend: str) -> None:
    dtype = SERVING[backend]
    x = torch.zeros(1, 100, 3, dtype=dtype)
    x[0, 0] = 1
    decay = torch.tensor([0.0, 0.5, 0.99], dtype=dtype)
    with spikeseq.backend(backend):
        u, end = ops.linear_scan(x, decay)
    assert close(u[0], decay ** torch.arange(100, dtype=dtype).unsqueeze(1))
    assert close(end[0], decay**99)


def test_a_state_decays_alone(backend: str) -> None:
    dtype = SERVING[backend]
    wide = torch.complex128 if dtype == F64 else torch.complex64
    decay = torch.polar(torch.tensor([0.0, 0.7, 1.0], dtype=F64), torch.tensor([1.0, 2.0, 0.1], dtype=F64)).to(wide)
    state = torch.tensor([[1 + 2j, -1j, 0.5]], dtype=wide)
    with spikeseq.backend(backend):
        z, end = ops.linear_scan(torch.zeros(1, 64, 3, dtype=dtype), decay, state)
    powers = torch.stack([decay**k for k in range(1, 65)])
    assert close(z[0], powers * state, 10)
    assert close(end[0], powers[-1] * state[0], 10)


def test_varying_decay_is_the_product_of_decays() -> None:
    decay = torch.rand(2, 50, 3, dtype=F64)
    x = torch.zeros(2, 50, 3, dtype=F64)
    for name in ("reference", "torch"):
        with spikeseq.backend(name):
            u, _ = ops.linear_scan(x, decay, torch.ones(2, 3, dtype=F64))
        assert close(u, decay.cumprod(1))


def test_decays_at_the_ends_of_their_range(backend: str) -> None:
    """decay 1 sums, decay 0 forgets, decay -1 alternates."""
    dtype = SERVING[backend]
    x = torch.randint(-4, 5, (2, 70, 3)).to(dtype)
    signs = (-1.0) ** torch.arange(70, dtype=dtype).view(1, -1, 1)
    with spikeseq.backend(backend):
        u, _ = ops.linear_scan(x, torch.tensor([1.0, 0.0, -1.0], dtype=dtype))
    assert close(u[..., 0], x[..., 0].cumsum(1), 100)
    assert close(u[..., 1], x[..., 1], 100)
    assert close(u[..., 2], (x * signs).cumsum(1)[..., 2] * signs[..., 0], 100)


@pytest.mark.parametrize("gate", [-1e4, 1e4, -3e38, 3e38, -1e-30, 1e-30, 50.0, -50.0, 88.0, -88.0, 104.0, -104.0])
@pytest.mark.parametrize("tau", [0.25, 1.0, 0.3, 40.0])
def test_dsn_with_extreme_gates(gate: float, tau: float) -> None:
    """From T = 32 on the paper's matrix form is NaN. Here every number stays finite and bounded, gradients too."""
    for name in ("reference", "torch", "native"):
        if spikeseq.backends()[name] is not None:
            continue
        x = (torch.randn(2, 70, 17) * 2).requires_grad_()
        gates = torch.full((2, 70, 17), gate, requires_grad=True)
        state = torch.randn(2, 17, requires_grad=True)
        with spikeseq.backend(name):
            u, end = ops.dsn(x, gates, tau, state=state, output="membrane")
        (u.square().sum() + end.sum()).backward()
        limit = max(x.abs().max().item(), state.abs().max().item())
        assert u.abs().max().item() <= limit * (1 + 1e-5)
        for value in (u, end, x.grad, gates.grad, state.grad):
            assert value is not None
            assert bool(torch.isfinite(value).all())
        if gate >= 104 or (gate > 80 and tau <= 1):  # holds
            assert torch.allclose(u, state.unsqueeze(1).expand_as(u), atol=1e-5)
        if gate <= -1e4:  # follows
            assert torch.allclose(u, x, atol=1e-5)


def test_dsn_mixed_extremes_are_finite(backend: str) -> None:
    if backend == "fft":
        return
    dtype = SERVING[backend]
    x = torch.randn(2, 200, 33, dtype=dtype).requires_grad_()
    gates = (torch.randn(2, 200, 33, dtype=dtype) * 1e4).requires_grad_()
    with spikeseq.backend(backend):
        s, end = ops.dsn(x, gates)
    (s.sum() + end.sum()).backward()
    assert x.grad is not None
    assert gates.grad is not None
    assert bool(torch.isfinite(x.grad).all() & torch.isfinite(gates.grad).all())


@pytest.mark.parametrize("tau", [0.25, 1.0, 2.0, 4.0])
def test_dsn_half_life(tau: float, backend: str) -> None:
    """At gate 0 the membrane halves every tau steps."""
    if backend == "fft":
        return
    dtype = SERVING[backend]
    x = torch.zeros(1, 32, 2, dtype=dtype)
    with spikeseq.backend(backend):
        u, _ = ops.dsn(x, x, tau, state=torch.full((1, 2), 1024.0, dtype=dtype), output="membrane")
    assert close(u[0, :, 0], 1024 * 0.5 ** (torch.arange(1, 33, dtype=F64) / tau), 1024)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_dsn_never_exceeds_its_inputs(scale: float, backend: str) -> None:
    if backend == "fft":
        return
    dtype = SERVING[backend]
    x = (torch.rand(3, 333, 20, dtype=dtype) * 2 - 1) * scale
    state = (torch.rand(3, 20, dtype=dtype) * 2 - 1) * scale
    with spikeseq.backend(backend):
        u, _ = ops.dsn(x, torch.randn_like(x) * 5, state=state, output="membrane")
    assert u.abs().max().item() <= max(x.abs().max().item(), state.abs().max().item()) * (1 + 1e-5)
    assert u.abs().max().item() > 0.01 * scale


@pytest.mark.parametrize("lags", [1, 2, 4, 9, 40])
def test_sliding_is_a_causal_convolution(lags: int, backend: str) -> None:
    """Orders above the length of the sequence too."""
    if backend == "fft":
        return
    dtype = SERVING[backend]
    x, weight = torch.randn(2, 20, 17, dtype=dtype), torch.randn(17, lags, dtype=dtype)
    bias, state = torch.randn(17, dtype=dtype), torch.randn(2, lags - 1, 17, dtype=dtype)
    padded = torch.cat([state, x], 1).transpose(1, 2)
    wanted = torch.nn.functional.conv1d(padded, weight.flip(1).unsqueeze(1), bias, groups=17).transpose(1, 2)
    with spikeseq.backend(backend):
        y, end = ops.sliding(x, weight, bias, state)
    assert close(y, wanted, 10)
    assert torch.equal(end, torch.cat([state, x], 1)[:, 20:])


def test_lif_under_constant_drive_fires_at_its_own_rate(backend: str) -> None:
    """No leak and V = 1: after t steps of drive c the spikes number floor(c t), the charge that came in."""
    dtype = SERVING[backend]
    drives = torch.tensor([0.125, 0.25, 0.375, 0.75], dtype=dtype)
    x = drives.expand(1, 64, 4)
    with spikeseq.backend(backend):
        s, end = ops.lif(x, 1.0)
    t = torch.arange(1, 65, dtype=dtype).unsqueeze(1)
    if backend != "fft":  # an FFT turns the exact ties
        assert torch.equal(s[0].cumsum(0), (t * drives).floor())
    assert close(end[0] + s[0].sum(0), 64 * drives, 10)


def test_hard_reset_period(backend: str) -> None:
    """From rest under drive c, u_n = c (1 - b^n) / (1 - b) reaches V after n steps, and again."""
    if backend == "fft":
        return
    dtype = SERVING[backend]
    beta, c = 0.9, 0.23
    period = next(n for n in range(1, 99) if c * (1 - beta**n) / (1 - beta) >= 1)
    with spikeseq.backend(backend):
        s, _ = ops.lif(torch.full((1, 10 * period, 1), c, dtype=dtype), torch.tensor(beta, dtype=dtype), reset="hard")
    assert s.flatten().nonzero().flatten().tolist() == [period * i - 1 for i in range(1, 11)]


def test_python_numbers_keep_their_precision() -> None:
    """A float64 run must not see 0.9 as 0.89999998 because a scalar passed through float32."""
    x = torch.zeros(1, 1, 1, dtype=F64)
    one = torch.ones(1, 1, dtype=F64)
    for name in ("reference", "torch"):
        with spikeseq.backend(name):
            assert ops.linear_scan(x, 0.9, one)[0].item() == 0.9
            assert ops.lif(x, 0.9, 10.0, one, output="membrane")[0].item() == 0.9
            assert ops.lif(x + 0.3, 0.9, 0.3)[0].item() == 1.0
            assert ops.lif(x + 0.9, 0.9, 0.3, rho=0.3)[1].item() == 0.9 - 0.3
            z = torch.ones(1, 1, dtype=torch.complex128)
            assert ops.prf(x, 0.1 + 0.9j, 1.0, state=z)[1].item() == pytest.approx(0.1 + 0.9j, abs=1e-16)
            assert ops.prf(x + 1, 0j, 0.1, output="membrane")[0].item() == 0.1
            assert ops.sliding(x, torch.ones(1, 1), 0.1)[0].item() == 0.1
            assert ops.dsn(x + 0.3, x - 1e4, 0.25, 0.3, surrogate=ops.atan())[0].item() == 1.0


def test_long_fft_kernels_are_built_in_double() -> None:
    """A float32 cos(t dt theta) is off by 6e-4 at 16k steps."""
    time = 16384
    a = torch.polar(torch.tensor([0.99999]), torch.tensor([2.9]))
    x = torch.zeros(1, time, 1)
    x[0, 0] = 1
    with spikeseq.backend("fft"):
        z, _ = ops.linear_scan(x, a)
    wanted = a.to(torch.complex128) ** torch.arange(time)
    assert (z[0, :, 0] - wanted).abs().max().item() < 2e-5


def test_an_fft_does_not_wrap_round() -> None:
    x = torch.zeros(1, 64, 1, dtype=F64)
    x[0, -8:] = 100.0
    with spikeseq.backend("fft"):
        u, _ = ops.linear_scan(x, torch.tensor(0.999, dtype=F64))
    assert u[0, :50].abs().max().item() < 1e-9


def test_prf_variance_of_white_noise() -> None:
    """Var(Re z) = (dt^2 v / 2) [1 / (1 - |A|^2) + Re(1 / (1 - A^2))]."""
    dt, tau, theta, v = 0.2, 2.0, 3.0, 1.7
    a = torch.polar(torch.tensor(math.exp(-dt / tau), dtype=F64), torch.tensor(dt * theta, dtype=F64))
    x = torch.randn(1, 20_000, 64, dtype=F64) * v**0.5
    u, _ = ops.prf(x, a, dt, output="membrane")
    known = a.item()
    wanted = dt**2 * v / 2 * (1 / (1 - abs(known) ** 2) + (1 / (1 - known**2)).real)
    assert u[:, 200:].var().item() == pytest.approx(wanted, rel=0.02)
