"""What is DSN's own."""

from __future__ import annotations

import math

import pytest
import torch

from spikeseq import DSN
from tests.laws import leaves


@pytest.mark.parametrize("decay", ["conv", "linear", "none"])
@pytest.mark.parametrize("kernel_size", [1, 2, 4])
@pytest.mark.parametrize("levels", [4, None])
def test_the_definition(decay: str, kernel_size: int, levels: int | None) -> None:
    """a' over the last k inputs, alpha = sigmoid(a')^(1/tau), u = alpha u + (1 - alpha) x, in a loop."""
    width, tau = 5, 0.6
    neuron = DSN(width, kernel_size, tau, levels, decay, threshold=0.8).double()
    with torch.no_grad():
        neuron.bias.normal_()
    x = torch.randn(2, 20, width, dtype=torch.float64) * 2
    u, wanted = torch.zeros(2, width, dtype=torch.float64), []
    for t in range(20):
        gate = neuron.bias.detach().expand(2, width)
        if decay == "conv":
            for j in range(min(kernel_size, t + 1)):
                gate = gate + neuron.weight[:, j].detach() * x[:, t - j]
        elif decay == "linear":
            gate = gate + x[:, t] @ neuron.weight.detach().T
        alpha = torch.sigmoid(gate) ** (1 / tau)
        u = alpha * u + (1 - alpha) * x[:, t]
        wanted.append((u >= 0.8).double() if levels is None else (u / 0.8).clamp(0, levels).round())
    spikes, state = neuron(x)
    assert torch.equal(spikes, torch.stack(wanted, 1))
    membrane = state[0] if decay == "conv" else state
    assert torch.allclose(membrane, u, rtol=1e-12)
    if decay == "conv":
        assert torch.equal(state[1], x[:, 20 - (kernel_size - 1) :])


def test_half_life_at_init_without_input() -> None:
    """The bias starts at 0, so with no input the gate is 0 and the membrane halves every tau steps."""
    neuron = DSN(3, tau=2.0, output="membrane")
    _, history = neuron.initial_state(1)
    u, _ = neuron(torch.zeros(1, 8, 3), (torch.ones(1, 3), history))
    assert torch.allclose(u[0, 1::2, 0], 0.5 ** torch.arange(1, 5.0))


def test_initial_values() -> None:
    neuron = DSN(400)
    assert torch.equal(neuron.bias, torch.zeros(400))
    assert neuron.weight.shape == (400, 4)
    assert neuron.weight.abs().max().item() <= 0.5
    assert neuron.weight.abs().max().item() > 0.49
    assert (neuron.levels, neuron.tau, neuron.kernel_size) == (4, 0.25, 4)
    assert [n for n, _ in DSN(3, decay="none").named_parameters()] == ["bias"]
    assert DSN(6, decay="linear").weight.shape == (6, 6)
    assert DSN(6, levels=None).levels is None


@pytest.mark.parametrize("time", [31, 32, 33, 500])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e30])
def test_no_nan_at_any_scale(time: int, scale: float) -> None:
    """The paper's matrix form divides by a running product: NaN in float32 from 32 steps."""
    neuron = DSN(7, output="membrane")
    x = (torch.randn(2, time, 7) * scale).requires_grad_()
    u, state = neuron(x)
    u.sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(u).all() & torch.isfinite(x.grad).all() & torch.isfinite(state[0]).all())
    assert u.abs().max().item() <= x.abs().max().item() * (1 + 1e-5)
    for p in neuron.parameters():
        assert p.grad is not None
        assert bool(torch.isfinite(p.grad).all())


def test_the_gradient_flows_through_the_gate() -> None:
    neuron = DSN(3)
    spikes, _ = neuron(torch.rand(2, 20, 3) * 3)
    spikes.sum().backward()
    for name, p in neuron.named_parameters():
        assert p.grad is not None, name
        assert bool((p.grad != 0).any()), name


def test_gates_are_never_narrower_than_float32_under_autocast() -> None:
    for decay in ("conv", "linear"):
        neuron = DSN(16, decay=decay, levels=None, output="membrane")
        x = torch.randn(2, 30, 16)
        plain, _ = neuron(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast, state = neuron(x)
        assert all(s.dtype == torch.float32 for s in leaves(state))
        assert torch.allclose(cast, plain, atol=1e-6), decay


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.0}, "DSN: expected tau > 0, got 0.0"), ({"tau": -1.0}, "DSN: expected tau > 0, got -1.0"),
        ({"tau": math.nan}, "DSN: expected tau > 0, got nan"),
        ({"kernel_size": 0}, "DSN: expected kernel_size >= 1, got 0"),
        ({"decay": "dense"}, "DSN: expected decay to be one of .*'dense'"),
        ({"threshold": 0.0}, "DSN: expected threshold > 0"),
        ({"levels": 0}, "levels"), ({"surrogate": "atan"}, "expected levels or surrogate, got both"),
    ],
    ids=lambda o: str(o)[:40],
)  # fmt: skip
def test_wrong_options_at_construction(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DSN(3, **options)


def test_wrong_states() -> None:
    neuron, x = DSN(3), torch.zeros(2, 5, 3)
    for state in (torch.zeros(2, 3), (torch.zeros(2, 3),), [torch.zeros(2, 3), torch.zeros(2, 3, 3)]):
        with pytest.raises(ValueError, match=r"expected state as \(membrane, history\), got (Tensor|tuple|list)"):
            neuron(x, state)
    with pytest.raises(ValueError, match=r"expected state \(2, 3, 3\).*got \(2, 2, 3\)"):
        neuron(x, (torch.zeros(2, 3), torch.zeros(2, 2, 3)))
