"""The attention against its definition; the block against its equations and the laws of blocks."""

import copy

import pytest
import torch
from block_laws import LAWS, neurons, options, seeds, shapes, spike_counts, used
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spikeseq.blocks import SequenceClassifier, Spikformer
from spikeseq.blocks import attention as attention_file
from spikeseq.blocks.attention import SpikeAttention

WIDTH = 6
norms = st.sampled_from(["batch", "layer", "none"])


def build(neuron: str = "LIF", **more: object) -> Spikformer:
    return used(Spikformer(WIDTH, heads=2, expansion=2, scale=4.0, **options(neuron, **more)))


def sequence(shape: tuple[int, int]) -> Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64) * 2


def random_starts(shape: tuple[int, int]) -> Tensor:
    return torch.rand(shape) < 0.3


def by_definition(q: Tensor, k: Tensor, v: Tensor, layer: SpikeAttention, starts: Tensor) -> Tensor:
    """`scale * sum_j decay^|t - j| (q_t . k_j) v_j` over the steps j of the same episode, j <= t where causal."""
    out = torch.zeros_like(q)
    size = layer.width // layer.heads
    episode = starts.cumsum(1)
    for h in range(layer.heads):
        of_head = slice(h * size, (h + 1) * size)
        for t in range(q.shape[1]):
            for j in range(q.shape[1] if layer.bidirectional else t + 1):
                weight = layer.scale * float(layer.decay[h]) ** abs(t - j) * (episode[:, t] == episode[:, j])
                score = (q[:, t, of_head] * k[:, j, of_head]).sum(-1)
                out[:, t, of_head] += (weight * score)[:, None] * v[:, j, of_head]
    return out


@LAWS
@given(shapes, seeds, st.booleans(), st.sampled_from([None, 1.0, (0.5, 0.9)]), st.integers(1, 4))
def test_linear_time_form_is_the_quadratic_definition(
    shape: tuple[int, int], seed: int, both: bool, decay: tuple[float, ...] | None, chunk: int
) -> None:
    torch.manual_seed(seed)
    layer = SpikeAttention(4, 2, decay, 0.5, both).double()
    q, k, v = torch.randint(0, 3, (3, *shape, 4)).double()
    starts = random_starts(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_file, "CHUNK", chunk)
        a, memory = layer(q, k, v, starts=starts)
        cut = shape[1] // 2
        first, middle = layer(q[:, :cut], k[:, :cut], v[:, :cut], starts=starts[:, :cut])
    torch.testing.assert_close(a, by_definition(q, k, v, layer, starts))
    if not both:
        second, end = layer(q[:, cut:], k[:, cut:], v[:, cut:], middle, starts[:, cut:])
        torch.testing.assert_close(torch.cat((first, second), 1), a)
        torch.testing.assert_close(end, memory)


def test_long_memories_stay_long_in_narrow_dtypes() -> None:
    layer = SpikeAttention(8, 8)
    expected = [1 - 2.0 ** -(3 + h) for h in range(8)]
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        assert layer.to(dtype).decay.tolist() == expected


def test_plain_sums_of_spikes_are_exact_integers() -> None:
    torch.manual_seed(0)
    layer = SpikeAttention(8, 2, decay=1.0, scale=1.0)
    q, k, v = (torch.rand(3, 2, 500, 8) < 0.3).float()
    a, memory = layer(q, k, v)
    state, steps = layer.initial_state(2), []
    for t in range(500):
        a_t, state = layer(q[:, t : t + 1], k[:, t : t + 1], v[:, t : t + 1], state)
        steps.append(a_t)
    assert torch.equal(torch.cat(steps, 1), a)
    assert torch.equal(state, memory)


@LAWS
@given(shapes, seeds, neurons, norms)
def test_stepping_is_the_parallel_pass(shape: tuple[int, int], seed: int, neuron: str, norm: str) -> None:
    torch.manual_seed(seed)
    block, x = build(neuron, norm=norm), sequence(shape)
    whole, end = block(x)
    state, steps = block.initial_state(shape[0]), []
    for x_t in x.unbind(1):
        y_t, state = block.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    torch.testing.assert_close(state, end)


@LAWS
@given(shapes, seeds, neurons, st.booleans())
def test_starts_are_fresh_sequences(shape: tuple[int, int], seed: int, neuron: str, both: bool) -> None:
    torch.manual_seed(seed)
    block, x, cut = build(neuron, bidirectional=both), sequence(shape), max(1, shape[1] // 2)
    starts = torch.zeros(shape, dtype=torch.bool)
    starts[:, cut] = True
    expected = torch.cat((block(x[:, :cut])[0], block(x[:, cut:])[0]), 1)
    torch.testing.assert_close(block(x, starts=starts)[0], expected)


@LAWS
@given(shapes, seeds, st.sampled_from(["LIF", "DSN", "PSN"]), st.booleans())
def test_padding_changes_nothing(shape: tuple[int, int], seed: int, neuron: str, both: bool) -> None:
    """Outputs, gradients and running statistics do not depend on what stands in the padding."""
    torch.manual_seed(seed)
    more = {"neuron": "PSN", "neuron_options": {"steps": shape[1]}} if neuron == "PSN" else options(neuron)
    block = used(Spikformer(WIDTH, heads=3, bidirectional=both, **more)).train()
    other = copy.deepcopy(block)
    lengths = torch.randint(2, shape[1] + 1, shape[:1])
    mask = torch.arange(shape[1]) < lengths[:, None]
    x = sequence(shape)
    y, state = block(x, lengths=lengths)
    assert state is None
    z, _ = other(torch.where(mask[..., None], x, sequence(shape)), lengths=lengths)
    torch.testing.assert_close(y[mask], z[mask])
    upstream = torch.randn_like(y[mask])
    y[mask].backward(upstream)
    z[mask].backward(upstream)
    for ours, theirs in zip(block.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(dict(block.named_buffers()), dict(other.named_buffers()))


@LAWS
@given(shapes, seeds, neurons, st.booleans(), norms)
def test_folding_changes_nothing(shape: tuple[int, int], seed: int, neuron: str, both: bool, norm: str) -> None:
    torch.manual_seed(seed)
    block, x = build(neuron, bidirectional=both, norm=norm), sequence(shape)
    folded = copy.deepcopy(block)
    folded.fold_()
    torch.testing.assert_close(folded(x)[0], block(x)[0], rtol=1e-9, atol=1e-9)
    assert not any("running" in name for name in folded.state_dict())


@pytest.mark.parametrize("neuron", ["PRF", "LIF", "DSN", "SlidingPSN"])
@pytest.mark.parametrize("both", [False, True])
def test_every_parameter_learns_and_neurons_fire(neuron: str, both: bool) -> None:
    torch.manual_seed(0)
    block, x = build(neuron, bidirectional=both).train(), sequence((4, 20))
    assert min(spike_counts(block, x)) > 0
    y, _ = block(x)
    (y * torch.randn_like(y)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_classifier_of_these_blocks_streams_and_folds() -> None:
    torch.manual_seed(0)
    more = {"block": "spikformer", "heads": 2, **options("LIF")}
    model = used(SequenceClassifier(inputs=2, classes=3, width=WIDTH, depth=2, **more))
    x, state = torch.randn(2, 9, 2, dtype=torch.float64) * 2, None
    for t, x_t in enumerate(x.unbind(1)):
        logits, state = model.step(x_t, state)
        torch.testing.assert_close(logits, model(x[:, : t + 1]))
    torch.testing.assert_close(model.fold()(x), model(x))


def test_errors_name_what_came() -> None:
    with pytest.raises(ValueError, match="divisor of width = 6, got 4"):
        Spikformer(6, heads=4)
    with pytest.raises(ValueError, match=r"decay: expected one number or 2 .*got \[1, 2, 3\]"):
        SpikeAttention(6, 2, [1, 2, 3])
    with pytest.raises(ValueError, match=r"decay: .*in \(0, 1\], got 0"):
        SpikeAttention(6, 2, 0.0)
    with pytest.raises(ValueError, match="expansion: expected at least 1, got 0"):
        Spikformer(6, heads=2, expansion=0)
    block, x = build(bidirectional=True), sequence((2, 3))
    for call in (lambda: block.step(x[:, 0]), lambda: block.initial_state(2), lambda: block(x, (None,) * 6)):
        with pytest.raises(RuntimeError, match=r"bidirectional=False to stream"):
            call()
    layer = SpikeAttention(6, 2)
    with pytest.raises(ValueError, match=r"expected a memory \[2, 2, 3, 3\], got \[1, 2, 3, 3\]"):
        layer(x, x, x, layer.initial_state(1))
    training = build().train()
    with pytest.raises(RuntimeError, match="expected eval mode"):
        training.step(x[:, 0])
