"""Integer networks run as unary spikes give the same outputs, with the bias counted once."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikeseq.blocks import ColumnCNN, EventCNN, SequenceClassifier
from spikeseq.energy import audit, energy
from spikeseq.unary import UnaryProduct, unary

LAWS = settings(deadline=None, max_examples=30)
levels = st.integers(1, 6)
seeds = st.integers(0, 2**16)


@LAWS
@given(seeds, levels, st.booleans(), st.sampled_from([1.0, 0.25, 0.7]))
def test_linear(seed: int, most: int, bias: bool, scale: float) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(5, 4, bias).double()
    x = torch.randint(0, most + 1, (2, 3, 5)) * torch.tensor(scale, dtype=torch.float64)
    torch.testing.assert_close(UnaryProduct(layer, scale)(x), layer(x))


@LAWS
@given(seeds, levels, st.integers(1, 2), st.integers(1, 2), st.integers(0, 2), st.booleans())
def test_convolution(seed: int, most: int, axes: int, stride: int, padding: int, bias: bool) -> None:
    torch.manual_seed(seed)
    kind = (nn.Conv1d, nn.Conv2d)[axes - 1]
    layer = kind(2, 4, 3, stride, padding, groups=2, bias=bias).double()
    x = torch.randint(0, most + 1, (3, 2, *(6, 5)[:axes])).double()
    torch.testing.assert_close(UnaryProduct(layer)(x), layer(x))


def test_every_slot_is_binary_and_the_bias_comes_once() -> None:
    layer, seen = nn.Linear(3, 2), []
    product = UnaryProduct(layer)
    for part in (product.first, product.others):
        part.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    assert torch.equal(product(torch.zeros(1, 3)), layer.bias.detach()[None])
    product(torch.tensor([[0.0, 1.0, 3.0]]))
    assert [slot.tolist() for slot in seen[1:]] == [[[0, 1, 1]], [[0, 0, 1]], [[0, 0, 1]]]


MODELS: dict[str, Any] = {
    "column": lambda fires: (ColumnCNN(3, 6, 2, 8, **fires), torch.randn(3, 9, 2, 8)),
    "event": lambda fires: (EventCNN(3, (2, 8, 8), ((4, 4), (5,)), **fires), torch.randn(3, 9, 2, 8, 8)),
    "spikformer": lambda fires: (
        SequenceClassifier(2, classes=3, width=6, depth=1, block="spikformer", heads=2, **fires),
        torch.randn(3, 9, 2),
    ),
    "sdtcm": lambda fires: (
        SequenceClassifier(2, classes=3, width=6, depth=2, bidirectional=fires["neuron"] == "LIF", **fires),
        torch.randn(3, 9, 2),
    ),
}
FIRES: dict[str, dict[str, Any]] = {
    "DSN": {}, "LIF": {"threshold": 0.5}, "PSN": {"steps": 9}, "SlidingPSN": {"order": 3},
    "PRF": {"dt_min": 0.3, "dt_max": 1.0, "threshold": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize("neuron", sorted(FIRES))
def test_whole_networks(kind: str, neuron: str) -> None:
    torch.manual_seed(0)
    fires = {"neuron": neuron, "neuron_options": {**FIRES[neuron], "levels": 4}}
    model, x = MODELS[kind](fires)
    x = 3 * x.double()
    model = model.double()
    model(x)  # the norms meet data
    with torch.no_grad():
        model.head.bias += 1
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 2  # so that the last neurons fire too
    spiking = unary(model, x)
    assert sum(isinstance(module, UnaryProduct) for module in spiking.modules()) >= 1
    torch.testing.assert_close(spiking(x), model.eval()(x))
    inside = [row for row in audit(spiking, x).rows if row.part == "block" and row.kind != "attention"]
    assert {row.input.split(" ")[0] for row in inside} == {"binary"}
    assert energy(spiking, x).full_joule == pytest.approx(energy(model, x).full_joule)


def test_other_values_are_refused() -> None:
    layer = UnaryProduct(nn.Linear(2, 2), 0.5)
    for values in ([0.5, 0.7], [-0.5, 1.0]):
        with pytest.raises(ValueError, match=r"expected 0\.5 times 0, 1, 2, \.\.\., got other values"):
            layer(torch.tensor([values]))
