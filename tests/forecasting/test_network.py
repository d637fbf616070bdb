"""The network: a stream gives what the whole gives, and training starts from the baseline."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq_forecasting.network import NEURON_OPTIONS, ForecastNetwork


def make(neuron="PRF", block="sdtcm", known=0, **options):
    network = ForecastNetwork(
        5, 4, neuron=neuron, width=8, depth=2, known=known, targets=2, block_options={"block": block}, **options
    )
    for parameter in network.parameters():  # the heads start at zero, which would hide everything
        torch.nn.init.normal_(parameter, std=0.5) if parameter.ndim > 1 else None
    return network.eval()


@pytest.mark.parametrize("block", ["sdtcm", "spikformer"])
@pytest.mark.parametrize("neuron", NEURON_OPTIONS)
@given(time=st.integers(2, 13), cut=st.integers(1, 12))
def test_streamed_and_cut_equal_whole(neuron, block, time, cut):
    network = make(neuron, block, known=3)
    x, known = 3 * torch.randn(2, time, 5), torch.randn(2, time, 4, 3)
    with torch.no_grad():
        whole, _ = network(x, known=known)
        state, steps = None, []
        for t in range(time):
            raw, state = network.step(x[:, t], state, known[:, t])
            steps.append(raw)
        assert torch.allclose(torch.stack(steps, 1), whole, atol=1e-5)
        cut = min(cut, time - 1)
        first, middle = network(x[:, :cut], known=known[:, :cut])
        second, _ = network(x[:, cut:], middle, known=known[:, cut:])
    assert torch.allclose(torch.cat((first, second), 1), whole, atol=1e-5)
    assert whole.shape == (2, time, 4, 2, network.distribution.parameters)


def test_starts_are_fresh_starts():
    network, x = make(), 3 * torch.randn(1, 9, 5)
    starts = torch.zeros(1, 9, dtype=torch.bool)
    starts[0, 4] = True
    with torch.no_grad():
        assert torch.allclose(network(x, starts=starts)[0][:, 4:], network(x[:, 4:])[0], atol=1e-6)


def test_padding_reaches_no_valid_step():
    network, x = make(), torch.randn(2, 7, 5)
    changed = x.clone()
    changed[0, 4:] += 10
    lengths = torch.tensor([4, 7])
    with torch.no_grad():
        one, state = network(x, lengths=lengths)
        other, _ = network(changed, lengths=lengths)
    assert state is None
    assert torch.equal(one[0, :4], other[0, :4])


def test_untrained_network_adds_nothing_to_the_baseline():
    network = ForecastNetwork(5, 3, known=2)
    raw, _ = network(torch.randn(2, 6, 5), known=torch.randn(2, 6, 3, 2))
    assert torch.equal(raw, torch.zeros_like(raw))


def test_every_part_learns():
    network = ForecastNetwork(5, 3, known=2, width=16)
    torch.nn.init.normal_(network.output.weight)
    raw, _ = network(5 * torch.randn(2, 40, 5), known=torch.randn(2, 40, 3, 2))
    raw.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_wrong_sizes_and_missing_knowledge_are_errors():
    with pytest.raises(ValueError, match="horizon and targets of at least 1, got 0"):
        ForecastNetwork(5, 0)
    with pytest.raises(ValueError, match=r"known: expected \[..., horizon, known\], got None"):
        make(known=3)(torch.randn(1, 4, 5))
    with pytest.raises(ValueError, match="known: expected None, got"):
        make()(torch.randn(1, 4, 5), known=torch.randn(1, 4, 4, 3))
