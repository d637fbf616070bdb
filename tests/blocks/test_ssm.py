"""The SSM block: its definition, the laws of the stack with it, and what in it is not spike-driven."""

import copy

import pytest
import torch
from block_laws import LAWS, NEURONS, neurons, options, seeds, shapes, used
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.blocks import SSM, Backbone, SequenceClassifier, TokenModel
from spikeseq.energy import audit, energy

norms = st.sampled_from(["batch", "layer", "none"])
places = st.sampled_from(["pre", "post", "none"])
mixers = st.sampled_from([None, *sorted(NEURONS)])
WIDTH = 6


def mixing(mixer: str | None) -> dict[str, object]:
    return {} if mixer is None else {"mixer": mixer, "mixer_options": NEURONS[mixer]}


def build(neuron: str, mixer: str | None, **more: object) -> Backbone:
    return used(Backbone(WIDTH, 2, "ssm", **options(neuron, **mixing(mixer), **more)))


def sequence(shape: tuple[int, int]) -> torch.Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64) * 2


@LAWS
@given(shapes, seeds, neurons, mixers, norms, places)
def test_block_is_its_equations(
    shape: tuple[int, int], seed: int, neuron: str, mixer: str | None, norm: str, place: str
) -> None:
    torch.manual_seed(seed)
    block = used(SSM(WIDTH, **options(neuron, norm=norm, placement=place, **mixing(mixer))))
    x = sequence(shape)
    u = block.norm(x) if place == "pre" else x
    if block.mixer is not None:
        assert block.mixer.output == "membrane"
        u, _ = block.mixer(u)
    s, _ = block.neuron(u)
    a, b = (s @ block.linear.weight.T + block.linear.bias).chunk(2, -1)
    y = x + a * b.sigmoid()
    torch.testing.assert_close(block(x)[0], block.norm(y) if place == "post" else y)


@LAWS
@given(shapes, seeds, neurons, mixers, norms, places, st.integers(1, 8))
def test_steps_and_cuts_are_the_whole_and_starts_are_fresh(
    shape: tuple[int, int], seed: int, neuron: str, mixer: str | None, norm: str, place: str, cut: int
) -> None:
    torch.manual_seed(seed)
    cut = min(cut, shape[1] - 1)
    model, x = build(neuron, mixer, norm=norm, placement=place), sequence(shape)
    whole, end = model(x)
    state, steps = model.initial_state(shape[0]), []
    for x_t in x.unbind(1):
        y_t, state = model.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(state, end)
    first, middle = model(x[:, :cut])
    second, carried = model(x[:, cut:], middle)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    torch.testing.assert_close(carried, end)
    starts = torch.zeros(shape, dtype=torch.bool)
    starts[:, cut] = True
    torch.testing.assert_close(model(x, starts=starts)[0], torch.cat((first, model(x[:, cut:])[0]), 1))


@LAWS
@given(shapes, seeds, neurons, mixers, norms, places)
def test_padding_changes_nothing(
    shape: tuple[int, int], seed: int, neuron: str, mixer: str | None, norm: str, place: str
) -> None:
    torch.manual_seed(seed)
    model, x = build(neuron, mixer, norm=norm, placement=place), sequence(shape)
    lengths = torch.randint(1, shape[1] + 1, shape[:1])
    y, state = model(x, lengths=lengths)
    assert state is None
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, :length], model(x[row : row + 1, :length])[0][0])


@pytest.mark.parametrize("neuron", ["PSN", "MaskedPSN"])
def test_neurons_that_see_the_future_do_not_see_padding(neuron: str) -> None:
    more = {"steps": 6} if neuron == "PSN" else {"steps": 6, "order": 3}
    block = used(SSM(4, neuron=neuron, neuron_options=more, mixer=neuron, mixer_options=more))
    x = torch.randn(3, 6, 4, dtype=torch.float64) * 3
    lengths = torch.tensor([2, 6, 5])
    mask = torch.arange(6) < lengths[:, None]
    other = torch.where(mask[..., None], x, torch.randn_like(x))
    torch.testing.assert_close(block(x, lengths=lengths)[0][mask], block(other, lengths=lengths)[0][mask])


@LAWS
@given(shapes, seeds, neurons, mixers, norms, places)
def test_folding_changes_no_logit(
    shape: tuple[int, int], seed: int, neuron: str, mixer: str | None, norm: str, place: str
) -> None:
    torch.manual_seed(seed)
    more = options(neuron, norm=norm, placement=place, **mixing(mixer))
    model = used(SequenceClassifier(inputs=WIDTH, classes=3, width=WIDTH, depth=2, block="ssm", **more))
    x = sequence(shape)
    torch.testing.assert_close(model.fold()(x), model(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("neuron", sorted(NEURONS))
@pytest.mark.parametrize("mixer", [None, "PRF", "DSN"])
def test_every_parameter_learns_and_copies_survive(neuron: str, mixer: str | None) -> None:
    torch.manual_seed(0)
    model, x = build(neuron, mixer).train(), sequence((4, 12))
    y, _ = model(x)
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    loaded = build(neuron, mixer)
    loaded.load_state_dict(model.state_dict())
    torch.testing.assert_close(copy.deepcopy(model)(x)[0], loaded(x)[0])


def test_the_audit_names_the_gate_and_the_energy_counts_it() -> None:
    """The Linear sees spikes; a * sigmoid(b), a product of two activations, does not, and the block says so."""
    torch.manual_seed(0)
    x = torch.randint(0, 11, (2, 20))
    model = TokenModel(11, WIDTH, 2, block="ssm", neuron="LIF", neuron_options={"levels": 2}, mixer="DSN")
    report = audit(model, x)
    linear = [row for row in report.rows if row.name.endswith(".linear")]
    assert len(linear) == 2
    assert all(row.spike_driven for row in linear)
    gates = ("backbone.layers.0.gate (block)", "backbone.layers.1.gate (block)")
    assert report.exceptions == (*gates, "head (head)")
    assert not report.spike_driven
    assert "NOT spike-driven" in str(report)
    counted = {row.name: row for row in energy(model, x).rows}
    assert counted["backbone.layers.0.gate"].multiplies == 20 * WIDTH
    assert counted["backbone.layers.0.gate"].macs == 0
    spike_driven = audit(TokenModel(11, WIDTH, 2, neuron="LIF"), x)
    assert spike_driven.spike_driven
    assert spike_driven.exceptions == ("head (head)",)


def test_what_a_block_refuses() -> None:
    with pytest.raises(ValueError, match=r"block: expected one of sdtcm, .*ssm, got 'smm'"):
        Backbone(4, 1, "smm")
    with pytest.raises(TypeError, match="channel_mixer"):
        Backbone(4, 1, "ssm", channel_mixer=False)
    with pytest.raises(ValueError, match=r"expected a mixer for mixer_options, got mixer=None"):
        SSM(4, mixer_options={"order": 3})
    with pytest.raises(ValueError, match="expected one of pre, post, none, got 'middle'"):
        SSM(4, placement="middle")
