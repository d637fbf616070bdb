"""Losses and quantiles against scipy's and against closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from spikeseq_forecasting.distributions import DISTRIBUTIONS, QUANTILES, Quantiles, make_distribution, masked_mean

LEVELS = (0.05, 0.3, 0.5, 0.9)


def draw(name, shape=(4, 3)):
    distribution = make_distribution(name)
    raw = torch.randn(*shape, distribution.parameters, dtype=torch.float64)
    baseline = torch.rand(shape, dtype=torch.float64) + 1
    return distribution, raw, baseline, torch.rand(shape, dtype=torch.float64) * 5 + 1


def test_student_t_is_scipys():
    distribution, raw, baseline, scale = draw("student_t")
    arguments = distribution.arguments(raw, baseline)
    location, spread, freedom = (a.numpy() for a in arguments)
    target = torch.randn(4, 3, dtype=torch.float64)
    expected = -stats.t.logpdf(target.numpy(), freedom, location, spread)
    assert torch.allclose(distribution.loss(arguments, target, scale), torch.from_numpy(expected))


def test_negative_binomial_is_scipys_in_the_units_of_the_data():
    distribution, raw, baseline, scale = draw("negative_binomial")
    arguments = distribution.arguments(raw, baseline)
    mean, size = (arguments[0] * scale).numpy(), 1 / arguments[1].numpy()
    counts = torch.randint(0, 9, (4, 3)).double()
    expected = -stats.nbinom.logpmf(counts.numpy(), size, size / (size + mean))
    assert torch.allclose(distribution.loss(arguments, counts / scale, scale), torch.from_numpy(expected))


@pytest.mark.parametrize("name", ["student_t", "quantile", "negative_binomial"])
def test_quantiles_rise_and_hold_their_share(name):
    distribution, raw, baseline, scale = draw(name)
    arguments = distribution.arguments(raw, baseline)
    values = distribution.quantiles(arguments, LEVELS, scale)
    assert values.shape == (4, 3, len(LEVELS))
    assert bool((values.diff(dim=-1) >= 0).all())
    if name == "negative_binomial":
        mean, size = (arguments[0] * scale).numpy()[..., None], 1 / arguments[1].numpy()[..., None]
        share = stats.nbinom.cdf((values * scale[..., None]).numpy() + 1e-6, size, size / (size + mean))
        assert (share >= np.array(LEVELS) - 1e-9).all()
    if name == "student_t":
        share = stats.t.cdf(values.numpy(), arguments[2][..., None], arguments[0][..., None], arguments[1][..., None])
        assert np.allclose(share, LEVELS)


def test_quantiles_at_the_levels_trained_are_the_values_themselves():
    distribution, raw, baseline, scale = draw("quantile")
    arguments = distribution.arguments(raw, baseline)
    assert torch.allclose(distribution.quantiles(arguments, QUANTILES, scale), arguments[0])
    assert torch.equal(distribution.mean(arguments), arguments[0][..., QUANTILES.index(0.5)])


def test_pinball_loss_is_least_at_the_quantiles():
    sample = torch.randn(4000, dtype=torch.float64)
    quantiles = Quantiles((0.1, 0.5, 0.9))
    best = torch.quantile(sample, torch.tensor(quantiles.levels, dtype=torch.float64))

    def loss(values):
        return quantiles.loss((values.expand(len(sample), 3),), sample, torch.ones(()))

    assert all(loss(best).mean() < loss(best + shift).mean() for shift in (-0.1, 0.1))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_residual_of_nothing_is_near_the_baseline(name):
    distribution, raw, baseline, _ = draw(name)
    mean = distribution.mean(distribution.arguments(torch.zeros_like(raw), baseline))
    assert torch.allclose(mean, baseline, atol=0.01)


@pytest.mark.parametrize(("name", "tolerance"), [("student_t", 0.02), ("quantile", 0.01)])
def test_the_spread_begun_with_has_the_mean_absolute_error_asked_for(name, tolerance):
    """Of Student's t by integration; the quantiles are those of a normal distribution that has it."""
    distribution, error = make_distribution(name), torch.tensor([[0.02, 0.3], [1.0, 4.0]], dtype=torch.float64)
    arguments = distribution.arguments(distribution.start(error, error), torch.full_like(error, 5.0))
    assert torch.allclose(distribution.mean(arguments), torch.tensor(5.0, dtype=torch.float64))
    if name == "student_t":
        spread, freedom = (a.ravel().tolist() for a in arguments[1:])
        made = [float(stats.t(f, scale=s).expect(abs)) for f, s in zip(freedom, spread, strict=True)]
        assert np.allclose(made, error.numpy().ravel(), rtol=tolerance)
    else:
        normal = 5 + stats.norm.ppf(QUANTILES) * np.sqrt(np.pi / 2) * error.numpy()[..., None]
        assert np.allclose(arguments[0], normal, rtol=tolerance)


def test_counts_begin_with_the_dispersion_asked_for():
    distribution, wanted = make_distribution("negative_binomial"), torch.tensor([[-0.2, 3e-4], [5.0, 1e9]])
    begun = distribution.arguments(distribution.start(torch.rand(2, 2), wanted), torch.ones(2, 2))
    assert torch.allclose(begun[0], torch.ones(2, 2), atol=0.01)
    assert torch.allclose(begun[1], wanted.clamp(2e-4, 50), rtol=1e-3)


def test_without_a_spread_all_begins_at_nothing():
    start = make_distribution("point").start(torch.rand(3, 2), torch.rand(3, 2))
    assert start.shape == (3, 2, 1)
    assert not start.any()


def test_missing_targets_do_not_count():
    loss = torch.tensor([1.0, 2.0, torch.inf])
    assert masked_mean(loss, torch.tensor([True, True, False])) == 1.5
    assert masked_mean(loss, torch.zeros(3, dtype=torch.bool)) == 0


def test_unknown_name_and_missing_quantiles_are_errors():
    with pytest.raises(ValueError, match="expected one of student_t, quantile, negative_binomial, point, got 'normal'"):
        make_distribution("normal")
    with pytest.raises(NotImplementedError, match="no quantiles"):
        make_distribution("point").quantiles((torch.zeros(1),), (0.5,), torch.ones(1))
