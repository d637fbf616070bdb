"""What is LIF's own."""

from __future__ import annotations

import math

import pytest
import torch

from spikeseq import LIF


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, [0.1, 0.5, 0.9], torch.tensor([0.0, 1.0, 0.3])])
def test_the_decay_asked_for_is_the_decay(decay) -> None:
    wanted = torch.as_tensor(decay, dtype=torch.float32).expand(3)
    assert torch.equal(LIF(3, decay=decay).decay.expand(3), wanted)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999, [0.1, 0.5, 0.95]])
def test_training_starts_from_the_decay_asked_for(decay) -> None:
    neuron = LIF(3, decay=decay, train_decay=True)
    assert [n for n, _ in neuron.named_parameters()] == ["decay_logit"]
    assert torch.allclose(neuron.decay, torch.as_tensor(decay).expand(3), rtol=1e-6)
    assert not list(LIF(3, decay=decay).parameters())


def test_a_float64_module_has_the_float64_decay() -> None:
    """Comparisons with other libraries run in float64: there 0.9 must not be 0.89999998."""
    neuron = LIF(1, decay=0.9, threshold=0.3).double()
    x = torch.zeros(1, 1, 1, dtype=torch.float64)
    _, state = neuron(x, torch.full((1, 1), 0.1, dtype=torch.float64))
    assert state.item() == 0.9 * 0.1
    assert neuron(x + 0.3)[0].item() == 1.0


def test_a_hand_made_run() -> None:
    """beta 0.5, V 1: u = 0.75, 1.125 (fires), 0.5 * 0.125 + 1 = 1.0625 (fires), 0.03125."""
    x = torch.tensor([0.75, 0.75, 1.0, 0.0]).view(1, 4, 1)
    spikes, state = LIF(1, decay=0.5)(x)
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert state.item() == 0.03125
    spikes, state = LIF(1, decay=0.5, reset="hard")(x)
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert state.item() == 0.0
    spikes, state = LIF(1, decay=0.5, reset="none")(x)
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert state.item() == 0.78125
    spikes, state = LIF(1, decay=0.5, rho=0.25)(x)
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert state.item() == (((0.75 * 0.5 + 0.75) - 0.25) * 0.5 + 1 - 0.25) * 0.5


@pytest.mark.parametrize("gain", [0.1, 0.5, 2.0])
def test_input_gain(gain: float) -> None:
    x = torch.randn(2, 30, 3, dtype=torch.float64) / gain
    spikes, state = LIF(3, decay=0.8, input_gain=gain)(x)
    wanted, wanted_state = LIF(3, decay=0.8)(x * gain)
    assert torch.equal(spikes, wanted)
    assert torch.equal(state, wanted_state)


def test_membrane_is_before_the_reset() -> None:
    x = torch.randn(2, 30, 3, dtype=torch.float64)
    spikes, state = LIF(3)(x)
    membrane, same_state = LIF(3, output="membrane")(x)
    assert torch.equal((membrane >= 1).to(x.dtype), spikes)
    assert torch.equal(state, same_state)
    assert torch.equal(membrane[:, -1] - spikes[:, -1], state)


OPTIONS = [
    ({"decay": 1.1}, r"LIF: expected decay in \[0, 1\], got 1.1"),
    ({"decay": -0.1}, r"LIF: expected decay in \[0, 1\], got -0.1"),
    ({"decay": math.nan}, r"LIF: expected decay in \[0, 1\], got nan"),
    ({"decay": [0.5, 0.5]}, r"LIF: expected decay as one number or 3, got shape \(2,\)"),
    ({"decay": 1.0, "train_decay": True}, r"LIF: expected decay inside \(0, 1\) to train it"),
    ({"decay": 0.0, "train_decay": True}, r"LIF: expected decay inside \(0, 1\) to train it"),
    ({"threshold": 0.0}, "LIF: expected threshold > 0, got 0.0"),
    ({"threshold": -1.0}, "LIF: expected threshold > 0, got -1.0"),
    ({"threshold": math.nan}, "LIF: expected threshold > 0, got nan"),
    ({"rho": math.nan}, "LIF: expected .*rho"),
    ({"input_gain": math.nan}, "LIF: expected .*input_gain"),
    ({"reset": "zero"}, "LIF: expected reset to be one of .*'zero'"),
    ({"output": "both"}, "LIF: expected output to be one of .*'both'"),
    ({"surrogate": "step"}, "LIF: expected surrogate to be one of .*'step'"),
    ({"surrogate": "atan", "levels": 2}, "LIF: expected levels or surrogate, got both"),
    ({"levels": 0}, "levels"),
    ({"levels": -1}, "levels"),
    ({"levels": 1.5}, "levels"),
    ({"levels": 4, "reset": "hard"}, "hard"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=lambda o: str(o)[:40])
def test_wrong_options_at_construction(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LIF(3, **options)
