"""The PSN family: dense, masked and sliding products over time."""

from __future__ import annotations

import pytest
import torch

from spikeseq import PSN, MaskedPSN, SlidingPSN


@pytest.mark.parametrize("steps", [1, 2, 17, 40])
def test_psn_is_a_dense_product(steps: int) -> None:
    neuron = PSN(5, steps=steps).double()
    with torch.no_grad():
        neuron.threshold.normal_()
    x = torch.randn(3, steps, 5, dtype=torch.float64)
    spikes, state = neuron(x)
    u = torch.einsum("ij,bjn->bin", neuron.weight, x)
    assert state is None
    assert torch.equal(spikes, (u >= neuron.threshold.unsqueeze(1)).double())
    neuron.output = "membrane"
    assert torch.allclose(neuron(x)[0], u)
    assert not neuron.causal


@pytest.mark.parametrize("order", [1, 2, 7, 12])
def test_masked_psn_is_a_band(order: int) -> None:
    """mask[i, j] = 1 where j <= i <= j + order - 1."""
    neuron = MaskedPSN(3, steps=12, order=order, output="membrane").double()
    band = torch.tensor([[float(j <= i <= j + order - 1) for j in range(12)] for i in range(12)], dtype=torch.float64)
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    assert torch.allclose(neuron(x)[0], torch.einsum("ij,bjn->bin", neuron.weight * band, x))
    for masking in (0.0, 0.3):
        neuron.set_masking(masking)
        blend = neuron.weight * (masking * band + 1 - masking)
        assert torch.allclose(neuron(x)[0], torch.einsum("ij,bjn->bin", blend, x))


def test_fully_masked_is_causal_and_reaches_back_order_steps() -> None:
    neuron = MaskedPSN(1, steps=20, order=3, output="membrane").double()
    x = torch.randn(1, 20, 1, dtype=torch.float64).requires_grad_()
    (grad,) = torch.autograd.grad(neuron(x)[0][0, 10, 0], x)
    assert grad.flatten().nonzero().flatten().tolist() == [8, 9, 10]
    neuron.set_masking(0.5)
    (grad,) = torch.autograd.grad(neuron(x)[0][0, 10, 0], x)
    assert bool((grad != 0).all())


@pytest.mark.parametrize("order", [1, 3, 8])
def test_sliding_psn_is_a_causal_convolution(order: int) -> None:
    neuron = SlidingPSN(4, order=order).double()
    with torch.no_grad():
        neuron.weight.normal_()
    x = torch.randn(2, 30, 4, dtype=torch.float64)
    rows = torch.nn.functional.pad(x.transpose(1, 2).reshape(8, 1, 30), (order - 1, 0))
    u = torch.nn.functional.conv1d(rows, neuron.weight.view(1, 1, -1)).view(2, 4, 30).transpose(1, 2)
    spikes, state = neuron(x)
    assert torch.equal(spikes, (u >= 1).double())
    assert torch.equal(state, x[:, 30 - (order - 1) :])


def test_initial_values() -> None:
    assert SlidingPSN(3, order=4).weight.tolist() == [0.125, 0.25, 0.5, 1.0]
    assert SlidingPSN(3).threshold.item() == 1.0
    assert SlidingPSN(3).threshold.ndim == 0
    psn = PSN(3, steps=64)
    assert torch.equal(psn.threshold, torch.ones(64))
    assert 0.12 < psn.weight.abs().max().item() <= 1 / 8  # kaiming uniform, a = sqrt(5): 1 / sqrt(fan in)
    assert MaskedPSN(3, steps=8, order=2).masking.item() == 1.0


def test_sliding_history_survives_chunks() -> None:
    """spikingjelly forgets it between calls."""
    neuron = SlidingPSN(3, order=4, output="membrane")
    x = torch.randn(2, 9, 3)
    whole, _ = neuron(x)
    state, parts = None, []
    for begin in (0, 1, 3, 4):  # chunks shorter than the history
        end = {0: 1, 1: 3, 3: 4, 4: 9}[begin]
        part, state = neuron(x[:, begin:end], state)
        parts.append(part)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)


@pytest.mark.parametrize("neuron", [PSN(3, steps=5), MaskedPSN(3, steps=5, order=2)], ids=["PSN", "MaskedPSN"])
def test_no_serial_form(neuron: PSN) -> None:
    name, x = type(neuron).__name__, torch.zeros(2, 5, 3)
    with pytest.raises(TypeError, match=f"{name} has no serial form"):
        neuron.step(x[:, 0])
    with pytest.raises(TypeError, match=f"{name} has no serial form"):
        neuron.initial_state(2)
    with pytest.raises(ValueError, match=f"{name} mixes all 5 steps at once"):
        neuron(x, torch.zeros(2, 3))
    with pytest.raises(ValueError, match=f"{name} mixes all 5 steps at once"):
        neuron(x, None, torch.zeros(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=f"{name}: expected 5 steps, got 4"):
        neuron(x[:, :4])
    bad = x.clone()
    bad[0, 2, 1] = torch.nan
    with pytest.raises(ValueError, match=rf"{name}: expected finite x, got nan at .* = \[0, 2, 1\]"):
        neuron(bad)
    with pytest.raises(TypeError, match=f"{name}: expected x of a floating dtype"):
        neuron(x.long())


def test_bfloat16_decides_in_float32() -> None:
    x = torch.randn(4, 40, 33)
    for neuron in (PSN(33, steps=40), MaskedPSN(33, steps=40, order=4), SlidingPSN(33)):
        narrow, _ = neuron(x.bfloat16())
        wide, _ = neuron(x.bfloat16().float())
        assert narrow.dtype == torch.bfloat16
        assert torch.equal(narrow.float(), wide), type(neuron).__name__
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(neuron(x)[0], neuron(x.clone())[0])
            cast, _ = neuron(x)
        assert cast.dtype == torch.float32
        assert torch.equal(cast, neuron(x)[0]), type(neuron).__name__


def test_wrong_options_at_construction() -> None:
    with pytest.raises(ValueError, match="PSN: expected steps >= 1, got 0"):
        PSN(3, steps=0)
    for order in (0, 6):
        with pytest.raises(ValueError, match=rf"MaskedPSN: expected order in 1..5, got {order}"):
            MaskedPSN(3, steps=5, order=order)
    with pytest.raises(ValueError, match="SlidingPSN: expected order >= 1, got 0"):
        SlidingPSN(3, order=0)
    for masking in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"MaskedPSN: expected masking in \[0, 1\]"):
            MaskedPSN(3, steps=5, order=2).set_masking(masking)
