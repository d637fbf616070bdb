"""Laws of the norms: which steps count, and what is left of them at inference."""

import pytest
import torch
from block_laws import LAWS, seeds, shapes
from hypothesis import given
from torch import nn

from spikeseq.blocks import MaskedBatchNorm
from spikeseq.blocks.norm import fold_norm, make_norm


@LAWS
@given(shapes, seeds)
def test_without_lengths_it_is_batch_norm(shape: tuple[int, int], seed: int) -> None:
    torch.manual_seed(seed)
    ours, theirs = MaskedBatchNorm(5), nn.BatchNorm1d(5)
    for _ in range(2):
        x = torch.randn(*shape, 5)
        torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    theirs.load_state_dict(ours.state_dict())


@LAWS
@given(shapes, seeds)
def test_only_valid_steps_count(shape: tuple[int, int], seed: int) -> None:
    torch.manual_seed(seed)
    batch, time = shape
    lengths = torch.randint(2, time + 1, (batch,))
    x = torch.randn(batch, time, 3, dtype=torch.float64)
    mask = torch.arange(time) < lengths[:, None]
    x[~mask] = 1e6  # padding that would ruin the statistics if it counted
    x.requires_grad_()
    ours, plain = MaskedBatchNorm(3).double(), nn.BatchNorm1d(3).double()
    y = ours(x, lengths)
    upstream = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, x, upstream)
    valid = x.detach()[mask].requires_grad_()
    expected = plain(valid)
    (expected_grad,) = torch.autograd.grad(expected, valid, upstream[mask])
    torch.testing.assert_close(y[mask], expected)
    torch.testing.assert_close(grad[mask], expected_grad)
    assert not y[~mask].any()
    assert not grad[~mask].any()
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)


def test_step_is_one_step_of_the_sequence_and_folds_to_an_affine_map() -> None:
    norm = MaskedBatchNorm(4)
    norm(torch.randn(3, 7, 4) * 3 + 1)
    x = torch.randn(2, 5, 4)
    with pytest.raises(RuntimeError, match=r"expected eval mode.*model\.eval\(\)"):
        norm.step(x[:, 0])
    norm.eval()
    torch.testing.assert_close(torch.stack([norm.step(x_t) for x_t in x.unbind(1)], 1), norm(x))
    torch.testing.assert_close(fold_norm(norm)(x), norm(x))


def test_unknown_norm_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected one of batch, layer, none, got 'group'"):
        make_norm("group", 4)
