"""The decoupled reset of arXiv 2410.03530: exact with the powers of the leak, wrong as the main text prints it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import ops

BETAS = [0.5, 0.9, 0.99, 0.999]


def sequential(x: Tensor, beta: Tensor, threshold: float, detach: bool) -> Tensor:
    """u_t = beta (u_{t-1} - V s_{t-1}) + x_t; s_t = H(u_t - V): the definition, differentiated by torch."""
    u = torch.zeros_like(x[:, 0])
    s = torch.zeros_like(u)
    spikes = []
    for x_t in x.unbind(1):
        u = beta * (u - threshold * (s.detach() if detach else s)) + x_t
        s = ops.spike(u, threshold)
        spikes.append(s)
    return torch.stack(spikes, 1)


def drive(beta: float, width: int = 32, time: int = 512) -> Tensor:
    """A drive that makes this leak fire often but not always."""
    return torch.randn(4, time, width, dtype=torch.float64) * 0.7 + 0.1 + 0.3 * (1 - beta) ** 0.5


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("backend", ["fft", "torch", "reference"])
def test_spikes_are_the_sequential_ones(beta: float, backend: str) -> None:
    x = drive(beta)
    exact = torch.tensor(beta, dtype=torch.float64)
    wanted = sequential(x, exact, 1.0, detach=True)
    with spikeseq.backend(backend):
        spikes, _ = ops.lif(x, exact)
    assert 0.05 < wanted.mean().item() < 0.95
    assert int((spikes != wanted).sum()) == 0


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("backend", ["fft", "torch", "reference"])
def test_gradient_is_bptt_with_the_reset_detached(beta: float, backend: str) -> None:
    def gradient(call) -> tuple[Tensor, Tensor]:
        x, decay = drive(beta, 8, 128).requires_grad_(), torch.tensor(beta, dtype=torch.float64, requires_grad=True)
        y = call(x, decay)
        weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
        return torch.autograd.grad((y * weight).sum(), (x, decay))  # pyright: ignore[reportReturnType]

    torch.manual_seed(3)
    detached = gradient(lambda x, a: sequential(x, a, 1.0, detach=True))
    torch.manual_seed(3)
    through = gradient(lambda x, a: sequential(x, a, 1.0, detach=False))
    with spikeseq.backend(backend):
        torch.manual_seed(3)
        ours = gradient(lambda x, a: ops.lif(x, a)[0])
    for got, wanted in zip(ours, detached, strict=True):
        assert (got - wanted).abs().max().item() <= 2e-13 * max(1.0, wanted.abs().max().item()) * (1 / (1 - beta))
    cosine = torch.nn.functional.cosine_similarity(ours[0].flatten(), through[0].flatten(), dim=0).item()
    assert cosine < 0.995
    torch.manual_seed(3)
    with spikeseq.backend("reference"):
        named = gradient(lambda x, a: ops.lif(x, a, detach_reset=False)[0])
    assert torch.allclose(named[0], through[0], rtol=1e-9, atol=1e-12)


def test_the_further_the_leak_reaches_the_more_the_reset_matters() -> None:
    """cosine(detached, through the reset) falls with beta: 0.98, 0.79, 0.30 were measured for 0.5, 0.9, 0.99."""
    found = []
    for beta in BETAS[:3]:
        torch.manual_seed(3)
        x = torch.randn(8, 256, 32, dtype=torch.float64).requires_grad_()
        exact = torch.tensor(beta, dtype=torch.float64)
        pair = [torch.autograd.grad(sequential(x, exact, 1.0, detach=d).sum(), x)[0].flatten() for d in (True, False)]
        found.append(torch.nn.functional.cosine_similarity(*pair, dim=0).item())
    assert 1 > found[0] > found[1] > found[2]


def decoupled_by_hand(x: Tensor, beta: float, powers: bool) -> Tensor:
    """d_t = V + V b_t, b_{t+1} = beta (b_t + s_t): Algorithm 2. Without `powers`, beta * sum s: the main text."""
    free = torch.zeros_like(x)
    u = torch.zeros_like(x[:, 0])
    for t in range(x.shape[1]):
        u = beta * u + x[:, t]
        free[:, t] = u
    b = torch.zeros_like(u)
    total = torch.zeros_like(u)
    spikes = []
    for u_t in free.unbind(1):
        s = (u_t >= 1 + b).to(x.dtype)
        total = total + s
        b = beta * (b + s) if powers else beta * total
        spikes.append(s)
    return torch.stack(spikes, 1)


@pytest.mark.parametrize("beta", BETAS)
def test_the_main_text_without_powers_is_wrong(beta: float) -> None:
    x = drive(beta)
    wanted = sequential(x, torch.tensor(beta, dtype=torch.float64), 1.0, detach=True)
    assert torch.equal(decoupled_by_hand(x, beta, powers=True), wanted)
    wrong = (decoupled_by_hand(x, beta, powers=False) != wanted).double().mean().item()
    assert wrong > 0.004
    with spikeseq.backend("fft"):
        assert torch.equal(ops.lif(x, torch.tensor(beta, dtype=torch.float64))[0], wanted)


def test_float32_fft_loses_spikes_that_the_fused_form_keeps() -> None:
    """The reason why "auto" never takes it: u' and d grow like mean(x) / (1 - beta) and cancel."""
    beta = 0.9999
    x = torch.full((1, 8192, 16), 0.3) + torch.randn(1, 8192, 16) * 0.01
    leak = torch.tensor(beta)
    with spikeseq.backend("reference"):
        wanted, _ = ops.lif(x, leak)
    with spikeseq.backend("fft"):
        fft, _ = ops.lif(x, leak)
    fused, _ = ops.lif(x, leak)
    assert torch.equal(fused, wanted)
    assert int((fft != wanted).sum()) > 0
