"""The regressor: sktime's own checks, then what differs from the classifier."""

import doctest
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from spikeseq_forecasting import regressor as module
from spikeseq_forecasting.bank import ConvolutionBank
from spikeseq_forecasting.panel_model import ALPHAS, PanelModel, _fit_readout
from spikeseq_forecasting.regressor import SpikingRegressor

SMALL: dict[str, Any] = {"features": 400, "width": 8, "depth": 1, "max_epochs": 3, "device": "cpu", "random_state": 0}


@parametrize_with_checks(SpikingRegressor)
def test_sktime(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


def test_doctest():
    assert doctest.testmod(module).failed == 0


def waves(n=60, time=40, seed=0):
    """The target is the waves' frequency, in other units: numpy3D and values."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.3, 1.2, n)
    phase = rng.uniform(0, 6, (n, 1, 1))
    return np.sin(np.arange(time) * frequency[:, None, None] + phase), 1000 + 50 * frequency


def test_it_generalises_and_does_not_mind_units():
    X, y = waves()
    new, truth = waves(seed=1)
    predicted = SpikingRegressor(**SMALL).fit(X, y).predict(new)
    assert ((predicted - truth) ** 2).mean() < 0.1 * truth.var()
    scaled = SpikingRegressor(**SMALL).fit(1e-3 * X, 1e6 * y).predict(1e-3 * new)
    np.testing.assert_allclose(scaled, 1e6 * predicted, rtol=1e-3)


def test_the_trunk_learns_what_the_bank_cannot():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], (160, 2, 1)) + 0.3 * rng.normal(size=(160, 2, 12))
    y = X.mean(2).prod(1)
    options: dict[str, Any] = SMALL | {"features": 1, "max_epochs": 25, "patience": None}
    fitted = SpikingRegressor(**options).fit(X[:120], y[:120])
    alone = SpikingRegressor(**options).set_params(max_epochs=0).fit(X[:120], y[:120])
    errors = [((model.predict(X[120:]) - y[120:]) ** 2).mean() for model in (fitted, alone)]
    assert fitted.trunk_used_
    assert errors[0] < 0.7 * errors[1]
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.predict(X), fitted.predict(X))


def test_a_constant_target_is_predicted():
    X, _ = waves(n=8)
    with pytest.warns(UserWarning, match="only single label"):
        fitted = SpikingRegressor(**SMALL).fit(X, np.full(8, 7.0))
    assert fitted.predict(X) == pytest.approx([7.0] * 8)


def test_series_of_unequal_length_with_gaps():
    X, y = waves()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    ragged = [pd.DataFrame(series.T).iloc[: 30 + i % 10] for i, series in enumerate(X)]
    new, truth = waves(seed=1)
    assert ((SpikingRegressor(**SMALL).fit(ragged, y).predict(new) - truth) ** 2).mean() < 0.3 * truth.var()


def test_random_state_decides_and_the_global_generator_goes_on():
    X, y = waves()
    before = torch.get_rng_state()
    first, second = (SpikingRegressor(**SMALL).fit(X, y).predict(X) for _ in range(2))
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_targets_are_named():
    X, y = waves(n=6)
    for wrong in (np.nan, np.inf):
        y[2] = wrong
        with pytest.raises(ValueError, match=r"y: expected finite values, got (nan|inf)|y.*missing|NaN"):
            SpikingRegressor(**SMALL).fit(X, y)


def test_left_out_predictions_are_those_of_refits_without_the_instance():
    torch.manual_seed(0)
    rates, weight = torch.rand(12, 5, dtype=torch.float64), torch.rand(12, dtype=torch.float64) + 0.5
    y = rates @ torch.randn(5, 1, dtype=torch.float64) + 0.3 * torch.randn(12, 1, dtype=torch.float64)
    model = PanelModel(ConvolutionBank(1), np.zeros(1), torch.ones(1), masked=False)
    found = _fit_readout(model, rates, y, weight, None).flatten().numpy()
    features, kept = ((rates - rates.mean(0)) / rates.std(0, unbiased=False)).numpy(), ~np.eye(12, dtype=bool)

    def refits(alpha):
        for one, rest in enumerate(kept):
            ridge = Ridge(alpha).fit(features[rest], y[rest, 0], weight[rest])
            yield ridge.predict(features[one : one + 1]).item()

    errors = [np.abs(found - list(refits(alpha))).max() for alpha in ALPHAS]
    assert min(errors) < 1e-9
    whole = Ridge(ALPHAS[int(np.argmin(errors))]).fit(features, y[:, 0], weight).predict(features)
    assert model.readout is not None
    np.testing.assert_allclose(model.readout(rates).flatten(), whole)
