"""Dropout keeps torch's promises: rate, scale, gradient, seed, and nothing in eval mode."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.blocks.dropout import Dropout


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_rate_and_scale(rate: float) -> None:
    values = 200_000
    y = Dropout(rate)(torch.ones(values))
    kept = y != 0
    # five standard deviations of a binomial share
    assert abs(kept.float().mean().item() - (1 - rate)) < 5 * (rate * (1 - rate) / values) ** 0.5
    assert torch.allclose(y[kept], torch.tensor(1 / (1 - rate)))


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.sampled_from([torch.float32, torch.float64]))
def test_gradient_is_the_mask(shape: list[int], dtype: torch.dtype) -> None:
    x = (torch.rand(shape, dtype=dtype) + 0.5).requires_grad_()
    y = Dropout(0.3)(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == dtype
    assert torch.allclose(grad * x, y)


def test_neighbours_are_dropped_independently() -> None:
    kept = (Dropout(0.5)(torch.ones(1 << 16)) != 0).double().view(-1, 4)  # four values share a draw
    correlation = torch.corrcoef(kept.T) - torch.eye(4, dtype=torch.double)
    assert correlation.abs().max() < 5 / kept.shape[0] ** 0.5


def test_seed_and_modes() -> None:
    x, layer = torch.randn(3, 5), Dropout(0.5)
    torch.manual_seed(1)
    first = layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros_like(x))
    with pytest.raises(ValueError, match="probability"):
        Dropout(1.5)
