"""What sktime's own checks do not see: seeds, training, what is learned."""

import doctest
import random
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from scipy import stats
from sktime.datasets import load_airline
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from spikeseq_forecasting import SpikingForecaster
from spikeseq_forecasting import forecaster as forecaster_module

from .examples import fitted, panel, series


@parametrize_with_checks(SpikingForecaster)
def test_sktime_accepts_it(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


def test_doctest():
    result = doctest.testmod(forecaster_module)
    assert result.attempted > 0 == result.failed


def test_same_seed_same_forecast_and_global_generators_as_before():
    numbers: Any = np.random.get_state()  # noqa: NPY002
    states = torch.get_rng_state(), numbers[1].copy(), random.getstate()
    one, two, other = (fitted(random_state=seed, crop=30).predict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), states[0])
    numbers = np.random.get_state()  # noqa: NPY002
    assert (numbers[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert one.equals(two)
    assert not one.equals(other)


def test_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fitted(validation=0.2)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_verbose_shows_progress(capsys):
    fitted(verbose=True)
    assert "Epoch" in capsys.readouterr().out


def test_early_stopping_on_the_held_out_tail():
    y = series(80)
    y.iloc[64:] += np.random.default_rng(1).normal(0, 30, 16)  # nothing learned before helps here
    epochs = []

    class Count(Callback):
        def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002
            epochs.append(trainer.current_epoch)

    options = {"max_epochs": 40, "learning_rate": 0.05, "trainer_options": {"callbacks": Count()}}
    fitted(y, validation=0.2, patience=2, **options)
    assert len(epochs) < 40
    epochs.clear()
    fitted(y, **options)
    assert len(epochs) == 40


def test_exogenous_values_are_used():
    generator = np.random.default_rng(0)
    x = pd.Series(generator.normal(size=404), pd.period_range("1980-01", periods=404, freq="M")).to_frame("x")
    y = 10 * x["x"].iloc[:400] + generator.normal(0, 0.1, 400)
    options = {"max_epochs": 20, "season": 1, "drift": False}
    truth = 10 * x["x"].iloc[400:]
    informed = fitted(y, X=x.iloc[:400], **options).predict(X=x.iloc[400:])
    blind = fitted(y, **options).predict()
    assert np.abs(informed - truth).mean() < 0.4 * np.abs(blind - truth).mean()
    assert np.corrcoef(informed, truth)[0, 1] > 0.99


def test_hierarchy_panel_and_columns_keep_their_places():
    """One network for all: each series' forecast is near its own level, whatever the layout."""
    levels = {("x", "a"): 100.0, ("x", "b"): -50.0, ("y", "a"): 3000.0}
    parts = {key: (series(seed=i) + level).to_frame("one") for i, (key, level) in enumerate(levels.items())}
    names: Any = ["group", "name", "time"]
    y = pd.concat(parts, names=names)
    y["two"] = y["one"] * 10
    forecast = fitted(y).predict()
    assert list(forecast.columns) == ["one", "two"]
    for key, level in levels.items():
        assert np.allclose(forecast.loc[key, "one"], level + 35, atol=25)
        assert np.allclose(forecast.loc[key, "two"], 10 * (level + 35), atol=250)
    interval = fitted(y).predict_interval(coverage=0.5)
    assert (interval["two", 0.5, "lower"] < interval["two", 0.5, "upper"]).all()


def test_series_of_unequal_length_end_together():
    y = panel()
    y = y.drop(index=[("a", time) for time in y.loc["a"].index[:20]])
    y = y.drop(index=[("c", time) for time in y.loc["c"].index[-3:]])
    forecast = fitted(y).predict()
    assert forecast.notna().to_numpy().all()
    begins = {name: part.index[0][1] for name, part in forecast.groupby(level=0)}
    assert begins == dict.fromkeys("abc", y.loc["b"].index[-1] + 1)


def test_learns_what_the_baseline_cannot_know():
    """An alternating sign of the change: the last value is wrong every time, two lags tell all."""
    step = np.arange(200)
    y = pd.Series(np.where(step % 2, 1.0, -1.0) + 0.01 * np.random.default_rng(0).normal(size=200))
    forecast = fitted(y, fh=[1, 2, 3], season=1, lags=4, max_epochs=20).predict()
    assert np.allclose(forecast, [-1, 1, -1], atol=0.2)


def test_members_differ_and_their_mean_is_the_forecast():
    """The first members of a larger ensemble are, but for clipped gradients, those of a smaller one."""
    one, two, three = (fitted(members=count) for count in (1, 2, 3))
    alone = one.predict(), 2 * two.predict() - one.predict(), 3 * three.predict() - 2 * two.predict()
    assert np.abs(alone[0] - alone[1]).min() > 1e-3
    assert np.abs(alone[1] - alone[2]).min() > 1e-3
    for forecast in alone:
        assert np.abs(forecast - 40).max() < 15


def test_the_unit_of_a_series_does_not_matter():
    """Of logarithms and of values: a thousand times the series, a thousand times the forecast and its intervals."""
    y = series()
    one, thousand = fitted(y), fitted(1000 * y)
    assert np.allclose(thousand.predict(), 1000 * one.predict(), rtol=1e-4)
    assert np.allclose(thousand.predict_interval(), 1000 * one.predict_interval(), rtol=1e-4)


def test_no_logarithm_of_series_that_reach_zero():
    """There the level of a series does not matter either, and a zero that comes later does no harm."""
    y = series()
    y -= y.iloc[10]
    assert np.allclose(fitted(y + 1e-9).predict(), fitted(y).predict(), atol=1e-4)
    forecaster = fitted()
    new = series(62)[60:]
    new.iloc[:] = [0.0, -3.0]
    forecaster.update(new, update_params=False)
    assert np.isfinite(forecaster.predict_quantiles(alpha=[0.1, 0.9])).to_numpy().all()


@pytest.mark.parametrize("distribution", ["student_t", "quantile"])
def test_intervals_hold_their_share(distribution):
    y = pd.Series(np.random.default_rng(0).normal(size=1300))
    forecaster = fitted(y[:1000], fh=range(1, 6), distribution=distribution, season=1, drift=False, max_epochs=60)
    bounds = []
    for row in range(1000, 1300, 5):
        bounds.append(forecaster.predict_interval(coverage=0.8).to_numpy())
        forecaster.update(y[row : row + 5], update_params=False)
    low, high = np.concatenate(bounds).T
    assert 0.7 < ((low < y[1000:]) & (y[1000:] < high)).mean() < 0.9


@pytest.mark.parametrize("mean", [4, 30, 300])
def test_intervals_of_counts_are_as_wide_as_poissons(mean):
    """The mean is a season's, so that the forecaster has to learn what is left: Poisson's spread around it."""
    rate = mean * (1 + 0.5 * np.sin(2 * np.pi * np.arange(600) / 12))
    y = pd.Series(np.random.default_rng(0).poisson(rate).astype(float), series(600).index)
    options = {"distribution": "negative_binomial", "max_epochs": 20, "members": 1}
    forecaster, bounds = fitted(y[:300], fh=range(1, 13), **options), []
    for row in range(300, 600, 12):
        bounds.append(forecaster.predict_interval(coverage=0.9).to_numpy())
        forecaster.update(y[row : row + 12], update_params=False)
    low, high = np.concatenate(bounds).T
    least, most = stats.poisson.ppf([[0.05], [0.95]], rate[300:])
    assert 1 / 1.5 < (high - low).mean() / (most - least).mean() < 1.5
    assert 0.8 < ((low <= y[300:]) & (y[300:] <= high)).mean() < 0.98


def test_counts_that_are_all_nought_have_a_forecast():
    y = pd.Series(0.0, series().index)
    forecast = fitted(y, distribution="negative_binomial").predict_quantiles(alpha=[0.1, 0.5])
    assert np.allclose(forecast, 0)


def test_airline_beats_seasonal_naive():
    y = load_airline()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = SpikingForecaster(season=12, random_state=0, device="cpu").fit(y[:-12], fh=range(1, 13)).predict()
    naive = np.abs(y[-12:].to_numpy() - y[-24:-12].to_numpy()).mean()
    assert np.abs(forecast - y[-12:]).mean() < 0.5 * naive
