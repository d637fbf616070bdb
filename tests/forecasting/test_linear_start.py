"""The ridge regressions that training starts from, beside scikit-learn's and on series that they can solve."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from spikeseq_forecasting.features import Framing
from spikeseq_forecasting.linear_start import PENALTIES, ridge, ridge_start
from spikeseq_forecasting.series_model import SeriesModel
from spikeseq_forecasting.training_data import Block


def test_ridge_is_scikit_learns():
    x, y = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, 3, dtype=torch.float64)
    for penalty, v in zip(PENALTIES, ridge(x, y, PENALTIES), strict=True):
        expected = Ridge(alpha=40 * float(penalty), fit_intercept=False).fit(x, y).coef_.T
        assert np.allclose(v, expected)


def block(values, exogenous=0):
    rows, time = values.shape
    return Block(values, torch.ones(rows), torch.zeros(rows, time, 0), torch.randn(rows, time, exogenous))


def forecast(model, data, time):
    memory = model.advance(data.values[:, :time], data.calendar[:, :time], data.exogenous[:, :time])
    ahead = slice(time, time + model.framing.horizon)
    arguments, scale = model.forecast(memory, data.calendar[:, ahead], data.exogenous[:, ahead])
    return (arguments[0] * scale).detach()


def test_a_linear_recursion_is_solved_before_any_training():
    """y_t = 2 cos(w) y_{t-1} - y_{t-2} has a period that is no season; two lags tell all."""
    values = torch.sin(0.7 * torch.arange(220.0))[None]
    model = SeriesModel(Framing(5, 1, lags=12, drift=False), width=4, distribution="point")
    ridge_start(model, block(values), 200)
    assert torch.allclose(forecast(model, block(values), 200), values[:, 200:205], atol=0.02)


@pytest.mark.parametrize("distribution", ["student_t", "quantile"])
def test_the_spread_is_that_of_each_step_ahead_before_any_training(distribution):
    """A random walk moves as far as the root of the steps; nothing but the last value can be known of it."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 1500, generator=generator).cumsum(1)
    model = SeriesModel(Framing(9, 1, lags=3, drift=False), width=4, distribution=distribution)
    ridge_start(model, block(values), 1500)
    memory = model.advance(values, torch.zeros(4, 1500, 0), torch.zeros(4, 1500, 0))
    arguments, scale = model.forecast(memory, torch.zeros(4, 9, 0), torch.zeros(4, 9, 0))
    quartiles = model.network.distribution.quantiles(arguments, [0.25, 0.75], scale).detach()
    width = quartiles.diff(dim=-1)[..., 0]
    assert torch.allclose(width / width[:, :1], torch.arange(1.0, 10).sqrt(), rtol=0.15)


def test_nothing_after_the_cut_is_used():
    values = torch.randn(2, 90)
    weights = []
    for tail in (0.0, 100.0):
        model = SeriesModel(Framing(3, 4, lags=5), width=4)
        changed = values.clone()
        changed[:, 60:] += tail
        ridge_start(model, block(changed), 60)
        assert model.network.shortcut is not None
        weights.append(model.network.shortcut.weight.clone())
    assert weights[0].any()
    assert torch.equal(*weights)


def test_too_few_or_missing_rows_change_nothing():
    for values in (torch.randn(1, 6), torch.full((1, 40), torch.nan).index_fill(1, torch.arange(0, 40, 3), 1.0)):
        model = SeriesModel(Framing(4, 2, lags=2), width=4)
        ridge_start(model, block(values), values.shape[1])
        assert model.network.shortcut is not None
        assert not model.network.shortcut.weight.any()


def test_what_is_known_of_chosen_rows_is_what_each_row_knows() -> None:
    """Rows of `steps` may be of any series, without a copy of the series for each."""
    model = SeriesModel(Framing(horizon=3, season=4, lags=2), calendar=2, exogenous=1)
    calendar, exogenous = torch.randn(3, 20, 2), torch.randn(3, 20, 1)
    rows, steps = torch.tensor([2, 0, 2, 1]), torch.tensor([[5], [9], [16], [0]])
    known = model.known(steps, calendar, exogenous, rows)
    assert known is not None
    for i, row in enumerate(rows):
        alone = model.known(steps[i : i + 1], calendar[row : row + 1], exogenous[row : row + 1])
        assert alone is not None
        assert torch.equal(known[i : i + 1], alone)
