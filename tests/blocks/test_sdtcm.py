"""The block against its definition, written out."""

import pytest
import torch
from block_laws import LAWS, neurons, options, seeds, shapes, used
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from spikeseq.blocks import SDTCM, SpatialNeuron
from spikeseq.ops import spike


@LAWS
@given(shapes, seeds, neurons, st.sampled_from(["pre", "post", "none"]), st.booleans(), st.booleans(), st.booleans())
def test_block_is_its_equations(
    shape: tuple[int, int], seed: int, neuron: str, placement: str, both: bool, mixer: bool, outer: bool
) -> None:
    torch.manual_seed(seed)
    block = used(
        SDTCM(6, **options(neuron, placement=placement, bidirectional=both, channel_mixer=mixer, outer_residual=outer))
    )
    x = torch.randn(*shape, 6, dtype=torch.float64) * 2
    v = block.norm(x) if placement == "pre" else x
    s, _ = block.neuron(v)
    if block.reverse_neuron is not None:
        backward, _ = block.reverse_neuron(v.flip(1))
        s = torch.cat((s, backward.flip(1)), -1)
    y = v + block.token(s)
    if mixer:
        assert block.spatial is not None
        assert block.channel is not None
        assert block.spatial.log_alpha is not None
        s_channel = block.spatial.log_alpha.exp() * (y >= 0.5).to(y)
        y = y + F.linear(s_channel, block.channel.weight, block.channel.bias)
    y = x + y if outer else y
    y = block.norm(y) if placement == "post" else y
    torch.testing.assert_close(block(x)[0], y)


def test_spatial_neuron_trains_alpha_and_its_input() -> None:
    """d/dalpha of sum(c * alpha * s) is sum(c * s) * alpha in log_alpha; d/dR is the atan surrogate at R - 0.5."""
    block = SDTCM(5, placement="none").double()
    assert block.spatial is not None
    assert block.channel is not None
    r = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    c = torch.randn(2, 3, 5, dtype=torch.float64)
    (block.channel(block.spatial(r), block.spatial.alpha) * c).sum().backward()
    upstream = c @ block.channel.weight.detach()
    assert block.spatial.log_alpha is not None
    torch.testing.assert_close(block.spatial.log_alpha.grad, (upstream * (r >= 0.5)).sum())
    torch.testing.assert_close(r.grad, upstream / (1 + (torch.pi * (r.detach() - 0.5)) ** 2))


def test_spatial_neuron_threshold_is_one_half() -> None:
    r = torch.tensor([0.49999, 0.5, 0.50001])
    assert SpatialNeuron()(r).tolist() == [0.0, 1.0, 1.0] == spike(r, 0.5).tolist()


@pytest.mark.parametrize("both", [False, True])
def test_starts_are_fresh_sequences(both: bool) -> None:
    torch.manual_seed(0)
    block = used(SDTCM(6, **options("LIF", bidirectional=both)))
    x = torch.randn(2, 9, 6, dtype=torch.float64) * 2
    starts = torch.zeros(2, 9, dtype=torch.bool)
    starts[:, 4] = True
    expected = torch.cat((block(x[:, :4])[0], block(x[:, 4:])[0]), 1)
    torch.testing.assert_close(block(x, starts=starts)[0], expected)
    assert not torch.allclose(block(x)[0], expected)


def test_bidirectional_refuses_to_stream() -> None:
    block = SDTCM(4, bidirectional=True).eval()
    x = torch.randn(2, 3, 4)
    assert block(x)[1] is None
    for call in (
        lambda: block.step(x[:, 0]),
        lambda: block.initial_state(2),
        lambda: block(x, torch.zeros(2, 4)),
    ):
        with pytest.raises(RuntimeError, match=r"bidirectional.*bidirectional=False to stream"):
            call()


@pytest.mark.parametrize("neuron", ["PSN", "MaskedPSN"])
def test_neurons_that_see_the_future_do_not_see_padding(neuron: str) -> None:
    more = {"steps": 6} if neuron == "PSN" else {"steps": 6, "order": 3}
    block = used(SDTCM(4, neuron=neuron, neuron_options=more))
    x = torch.randn(3, 6, 4, dtype=torch.float64) * 3
    lengths = torch.tensor([2, 6, 5])
    mask = torch.arange(6) < lengths[:, None]
    other = torch.where(mask[..., None], x, torch.randn_like(x))
    torch.testing.assert_close(block(x, lengths=lengths)[0][mask], block(other, lengths=lengths)[0][mask])


def test_unknown_placement_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected one of pre, post, none, got 'middle'"):
        SDTCM(4, placement="middle")
