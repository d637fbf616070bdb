"""Laws of the convolutional networks: one call over batch and time, streaming, folding, integer spikes."""

from typing import Any

import pytest
import torch
from block_laws import LAWS, NEURONS, neurons, seeds, spike_counts
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeseq.blocks import ColumnCNN, EventCNN, SEWResNet18, SpikingCNN
from spikeseq.blocks.over_time import ConvNorm, MapNeuron, SpikingLayers, over_time
from spikeseq.neurons import PSN, make

FEW = settings(LAWS, max_examples=12)
SIZES: dict[str, tuple[int, ...]] = {"column": (2, 8), "event": (2, 9, 8), "sew": (3, 8, 8)}
kinds = st.sampled_from(sorted(SIZES))


def used(model: SpikingCNN) -> SpikingCNN:
    """In eval mode and float64, with norms that are no longer at their first values and let spikes through."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.1, 0.5)
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.3, 0.2)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.1, 0.5)
        elif isinstance(module, PSN):
            nn.init.constant_(module.threshold, 0.2)
    return model.double().eval()


def build(kind: str, neuron: str, more: dict[str, Any] | None = None, steps: int | None = None) -> SpikingCNN:
    fires: dict[str, Any] = {"neuron": neuron, "neuron_options": {**NEURONS.get(neuron, {}), **(more or {})}}
    if kind == "column":
        return used(ColumnCNN(3, width=4, channels=2, height=8, **fires))
    if kind == "event":
        return used(EventCNN(3, (2, 9, 8), ((3, 4), (5,)), **fires))
    return used(SEWResNet18(3, (3, 8, 8), (3, 4), steps, stem="cifar", **fires))


def sequence(kind: str, batch: int, time: int) -> Tensor:
    return torch.randn(batch, time, *SIZES[kind], dtype=torch.float64)


@LAWS
@given(seeds, neurons, st.integers(1, 3), st.integers(1, 4), st.integers(0, 2))
def test_every_position_has_a_neuron_of_its_own(seed: int, neuron: str, batch: int, time: int, axes: int) -> None:
    torch.manual_seed(seed)
    space = (3, 2)[:axes]
    layer = MapNeuron(neuron, 4, NEURONS[neuron]).double()
    x = torch.randn(batch, time, 4, *space, dtype=torch.float64) * 2
    y, _ = layer(x)
    for position in torch.ones(space).nonzero().tolist():
        at = (slice(None), slice(None), slice(None), *position)
        torch.testing.assert_close(y[at], layer.neuron(x[at])[0])


@LAWS
@given(seeds, st.integers(1, 3), st.integers(1, 4), st.integers(1, 2))
def test_one_call_over_batch_and_time_is_every_step_alone(seed: int, batch: int, time: int, axes: int) -> None:
    torch.manual_seed(seed)
    layer = ConvNorm(2, 3, 3, 2, axes)
    x = torch.randn(batch, time, 2, *(5, 4)[:axes])
    layer.train()(x.flatten(0, 1))
    whole = over_time(layer.eval(), x)
    torch.testing.assert_close(whole, torch.stack([layer(x_t) for x_t in x.unbind(1)], 1))


@FEW
@given(seeds, kinds, neurons)
def test_streaming_gives_the_logits_of_every_prefix(seed: int, kind: str, neuron: str) -> None:
    torch.manual_seed(seed)
    model, x = build(kind, neuron), sequence(kind, 2, 3)
    state = None
    for t, x_t in enumerate(x.unbind(1)):
        logits, state = model.step(x_t, state)
        torch.testing.assert_close(logits, model(x[:, : t + 1]))
    flat_logits, _ = model.step(x[:, 0].flatten(1))
    torch.testing.assert_close(flat_logits, model(x[:, :1].flatten(2)))


@FEW
@given(seeds, kinds, neurons, st.integers(1, 4))
def test_cut_and_carry_is_whole_and_starts_are_fresh(seed: int, kind: str, neuron: str, cut: int) -> None:
    torch.manual_seed(seed)
    model, x = build(kind, neuron), sequence(kind, 2, 5)
    current = over_time(model.encoder, x)
    whole, end = model.layers(current)
    first, middle = model.layers(current[:, :cut])
    second, carried_end = model.layers(current[:, cut:], middle)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    torch.testing.assert_close(carried_end, end)
    starts = torch.zeros(2, 5, dtype=torch.bool)
    starts[:, cut] = True
    expected = torch.cat((first, model.layers(current[:, cut:])[0]), 1)
    torch.testing.assert_close(model.layers(current, None, starts)[0], expected)


@FEW
@given(seeds, kinds, neurons)
def test_folding_changes_no_logit(seed: int, kind: str, neuron: str) -> None:
    torch.manual_seed(seed)
    model, x = build(kind, neuron), sequence(kind, 2, 3)
    folded = model.fold()
    torch.testing.assert_close(folded(x), model(x))
    torch.testing.assert_close(folded.fold()(x), model(x))
    assert not any("running" in name for name in folded.state_dict())
    assert any("running" in name for name in model.state_dict())


@pytest.mark.parametrize("kind", sorted(SIZES))
@pytest.mark.parametrize("neuron", [*NEURONS, "PSN", "MaskedPSN"])
@pytest.mark.parametrize("levels", [None, 3])
def test_every_neuron_fires_and_learns_in_every_network(kind: str, neuron: str, levels: int | None) -> None:
    torch.manual_seed(0)
    more: dict[str, Any] = {"levels": levels} | ({"steps": 6} if "PSN" in neuron and neuron != "SlidingPSN" else {})
    model = build(kind, neuron, more | ({"order": 2} if neuron == "MaskedPSN" else {})).train()
    x = sequence(kind, 4, 6) * 2
    assert min(spike_counts(model, x)) > 0
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert sum(bool(p.grad.any()) for p in model.parameters() if p.grad is not None) > 8


@pytest.mark.parametrize("neuron", [*NEURONS, "PSN", "MaskedPSN"])
@pytest.mark.parametrize("levels", [1, 4])
def test_integer_spikes_are_whole_and_reach_their_level(neuron: str, levels: int) -> None:
    torch.manual_seed(0)
    more = {"steps": 30} if neuron in ("PSN", "MaskedPSN") else {}
    more |= {"order": 3} if neuron == "MaskedPSN" else {}
    layer = make(neuron, 5, **{**NEURONS.get(neuron, {}), **more, "levels": levels})
    spikes, _ = layer(torch.randn(20, 30, 5) * 8)
    assert sorted(spikes.unique().tolist()) == list(range(levels + 1))


def test_still_images_are_the_same_frame_repeated() -> None:
    torch.manual_seed(0)
    still, moving = build("sew", "LIF", steps=4), build("sew", "LIF")
    moving.load_state_dict(still.state_dict())
    x = sequence("sew", 2, 1)[:, 0]
    torch.testing.assert_close(still(x), moving(x[:, None].expand(-1, 4, -1, -1, -1)))
    state, logits = None, torch.empty(0)
    for _ in range(4):
        logits, state = still.step(x, state)
    torch.testing.assert_close(logits, still(x))


def test_pixels_of_grey_images_are_read_row_by_row() -> None:
    torch.manual_seed(0)
    model = used(EventCNN(3, (1, 4, 6), ((3,),), "LIF", NEURONS["LIF"], steps=4))
    x = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(model(x.view(2, 24, 1)), model(x))
    coloured = used(EventCNN(3, (2, 4, 3), ((3,),), "LIF", NEURONS["LIF"], steps=4))
    with pytest.raises(ValueError, match=r"expected \[batch, 2, 4, 3\]"):
        coloured(x.view(2, 12, 2))


def test_residual_sums_are_integers_up_to_the_number_of_terms() -> None:
    torch.manual_seed(0)
    model = build("sew", "LIF")
    seen: list[Tensor] = []
    model.layers.layers[2].register_forward_hook(lambda _m, _i, output: seen.append(output[0]))
    model(sequence("sew", 3, 4))
    assert sorted(seen[0].unique().tolist()) == [0.0, 1.0, 2.0, 3.0]


def test_parameter_counts() -> None:
    """SEW-ResNet-18 without neuron parameters is ResNet-18; ColumnCNN by hand."""
    sew = SEWResNet18(neuron="LIF")
    assert sum(p.numel() for p in sew.parameters()) == 11_689_512
    column = ColumnCNN(10, 128, neuron="LIF")
    convs = 128 * 3 * (3 + 5 * 128) + 6 * 2 * 128
    linears = (1024 * 256 + 256) + (256 * 10 + 10)
    assert sum(p.numel() for p in column.parameters()) == convs + linears


@pytest.mark.parametrize("neuron", ["PSN", "MaskedPSN"])
def test_neurons_that_see_the_future_refuse_to_stream(neuron: str) -> None:
    model = build("column", neuron, {"steps": 3} | ({"order": 2} if neuron == "MaskedPSN" else {}))
    x = sequence("column", 2, 3)
    assert model(x).shape == (2, 3)
    with pytest.raises(TypeError, match=rf"layers\.layers\.0\.neuron: {neuron} sees the future.*cannot stream"):
        model.step(x[:, 0])


def test_errors_name_what_came() -> None:
    model, x = build("event", "LIF"), sequence("event", 2, 3)
    with pytest.raises(ValueError, match=r"expected \[batch, time, 2, 9, 8\].*\(2, 3, 2, 9, 7\)"):
        model(x[..., :7])
    with pytest.raises(ValueError, match=r"expected \[batch, 2, 9, 8\].*\(2, 3, 2, 9, 8\)"):
        model.step(x)
    with pytest.raises(TypeError, match=r"floating tensor.*int64"):
        model(x.long())
    with pytest.raises(ValueError, match="finite"):
        model(x / 0)
    _, state = model.step(x[:, 0])
    with pytest.raises(ValueError, match="expected batch 1 like x_t, got batch 2"):
        model.step(x[:1, 0], state)
    with pytest.raises(RuntimeError, match="expected eval mode"):
        model.train().step(x[:, 0])
    with pytest.raises(ValueError, match="multiple of 4"):
        ColumnCNN(height=30)
    with pytest.raises(ValueError, match="sides of at least 4 for 2 stages"):
        EventCNN(size=(2, 3, 9), stages=((1,), (1,)))
    with pytest.raises(ValueError, match="at least one convolution a stage"):
        EventCNN(stages=((1,), ()))
    with pytest.raises(ValueError, match="expected imagenet or cifar, got 'deep'"):
        SEWResNet18(stem="deep")
    with pytest.raises(ValueError, match="steps of at least 1, got classes=1000, steps=0"):
        SEWResNet18(steps=0)
    with pytest.raises(ValueError, match="levels as a whole number >= 1"):
        ColumnCNN(neuron_options={"levels": 0})


def test_an_empty_shortcut_passes_its_input() -> None:
    x = torch.randn(2, 3, 4)
    y, state = SpikingLayers()(x)
    assert torch.equal(y, x)
    assert state == ()
