"""Laws of the stack: streaming, cutting, padding, independence, folding."""

import copy

import pytest
import torch
from block_laws import LAWS, neurons, options, seeds, shapes, spike_counts, used
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.blocks import Backbone

norms = st.sampled_from(["batch", "layer", "none"])
placements = st.sampled_from(["pre", "post"])
WIDTH = 6


def build(neuron: str, **more: object) -> Backbone:
    return used(Backbone(WIDTH, 2, **options(neuron, **more)))


def sequence(shape: tuple[int, int]) -> torch.Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64) * 2


@pytest.mark.parametrize("neuron", ["PRF", "LIF", "DSN", "SlidingPSN"])
def test_the_neurons_of_these_laws_fire(neuron: str) -> None:
    torch.manual_seed(0)
    assert min(spike_counts(build(neuron), sequence((4, 20)))) > 0


@LAWS
@given(shapes, seeds, neurons, norms, placements)
def test_stepping_is_the_parallel_pass(shape: tuple[int, int], seed: int, neuron: str, norm: str, place: str) -> None:
    torch.manual_seed(seed)
    model, x = build(neuron, norm=norm, placement=place), sequence(shape)
    whole, end = model(x)
    state, steps = model.initial_state(shape[0]), []
    for x_t in x.unbind(1):
        y_t, state = model.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(state, end)


@LAWS
@given(shapes, seeds, neurons, st.integers(1, 8))
def test_cut_and_carry_is_whole_and_starts_are_fresh(shape: tuple[int, int], seed: int, neuron: str, cut: int) -> None:
    torch.manual_seed(seed)
    cut = min(cut, shape[1] - 1)
    model, x = build(neuron), sequence(shape)
    whole, end = model(x)
    first, middle = model(x[:, :cut])
    second, carried_end = model(x[:, cut:], middle)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    torch.testing.assert_close(carried_end, end)
    starts = torch.zeros(shape, dtype=torch.bool)
    starts[:, cut] = True
    restarted, _ = model(x, starts=starts)
    torch.testing.assert_close(restarted, torch.cat((first, model(x[:, cut:])[0]), 1))


@LAWS
@given(shapes, seeds, neurons, st.booleans(), norms, st.booleans())
def test_padding_changes_nothing_in_eval_mode(
    shape: tuple[int, int], seed: int, neuron: str, both: bool, norm: str, ragged: bool
) -> None:
    """Each row, alone and unpadded, gives what it gives in a padded batch: rows are independent as well."""
    torch.manual_seed(seed)
    batch, time = shape
    model, x = build(neuron, bidirectional=both, norm=norm), sequence(shape)
    lengths = torch.randint(1, time + 1, (batch,)) if ragged else torch.full((batch,), time)
    y, state = model(x, lengths=lengths)
    assert state is None
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[row, :length], model(x[row : row + 1, :length])[0][0])


@LAWS
@given(shapes, seeds, neurons, st.booleans(), placements)
def test_padding_changes_nothing_in_training_mode(
    shape: tuple[int, int], seed: int, neuron: str, both: bool, place: str
) -> None:
    """Outputs, gradients and running statistics do not depend on what stands in the padding, or how long it is."""
    torch.manual_seed(seed)
    batch, time = shape
    model = build(neuron, bidirectional=both, placement=place).train()
    other = copy.deepcopy(model)
    lengths = torch.randint(2, time + 1, (batch,))
    mask = torch.arange(time) < lengths[:, None]
    x = sequence(shape)
    longer = torch.cat((torch.where(mask[..., None], x, sequence(shape)), sequence((batch, 3))), 1)
    y, y_longer = model(x, lengths=lengths)[0][mask], other(longer, lengths=lengths)[0][:, :time][mask]
    torch.testing.assert_close(y, y_longer)
    upstream = torch.randn_like(y)
    y.backward(upstream)
    y_longer.backward(upstream)
    for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(dict(model.named_buffers()), dict(other.named_buffers()))


@LAWS
@given(shapes, seeds, neurons, st.booleans(), norms, placements, st.booleans())
def test_folding_changes_nothing(
    shape: tuple[int, int], seed: int, neuron: str, both: bool, norm: str, place: str, mixer: bool
) -> None:
    torch.manual_seed(seed)
    model = build(neuron, bidirectional=both, norm=norm, placement=place, channel_mixer=mixer)
    before = copy.deepcopy(model.state_dict())
    folded, x = model.fold(), sequence(shape)
    torch.testing.assert_close(folded(x)[0], model(x)[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.state_dict(), before)
    assert not any("log_alpha" in name or "running" in name for name in folded.state_dict())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_folding_in_float32() -> None:
    torch.manual_seed(1)
    model = build("PRF").float()
    x = sequence((3, 50)).float()
    torch.testing.assert_close(model.fold()(x)[0], model(x)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("neuron", ["PRF", "LIF", "DSN", "SlidingPSN"])
@pytest.mark.parametrize("both", [False, True])
def test_every_parameter_learns(neuron: str, both: bool) -> None:
    torch.manual_seed(0)
    model = build(neuron, bidirectional=both).train()
    y, _ = model(sequence((4, 12)))
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_deepcopy_and_state_dict_after_training() -> None:
    torch.manual_seed(0)
    model = build("PRF").train()
    x = sequence((2, 8))
    model(x)[0].sum().backward()
    copied, loaded = copy.deepcopy(model).eval(), build("PRF")
    loaded.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(x)[0], model.eval()(x)[0])
    torch.testing.assert_close(loaded(x)[0], model(x)[0])


def test_streaming_with_batch_norms_needs_eval_mode() -> None:
    with pytest.raises(RuntimeError, match=r"expected eval mode"):
        Backbone(WIDTH, 1).step(torch.randn(2, WIDTH))
    Backbone(WIDTH, 1, norm="layer").step(torch.randn(2, WIDTH))


def test_errors_name_what_came() -> None:
    model = Backbone(WIDTH, 2)
    with pytest.raises(ValueError, match=r"width = 6\].*got \[2, 3, 5\]"):
        model(torch.randn(2, 3, 5))
    with pytest.raises(ValueError, match=r"width = 6\].*got \[2, 3, 6\]"):
        model.eval().step(torch.randn(2, 3, 6))
    with pytest.raises(ValueError, match=r"tuple of 2 states.*got 1 states"):
        model(torch.randn(2, 3, 6), (None,))
    with pytest.raises(ValueError, match=r"at least 1, got width 6 and depth 0"):
        Backbone(6, 0)
