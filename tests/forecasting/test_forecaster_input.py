"""Bad, short and odd input: what is refused, by which words, and what is forecast all the same."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from spikeseq.neurons import PSN
from spikeseq_forecasting import SpikingForecaster

from .examples import FH, TINY, fitted, panel, series


def test_exogenous_values_have_to_be_there():
    x = series(64, seed=3).to_frame("x")
    forecaster = fitted(X=x[:60])
    with pytest.raises(ValueError, match=r"X: expected the 1 columns that fit had, .* got None"):
        forecaster.predict()
    with pytest.raises(ValueError, match=r"X: expected the columns of fit, \['x'\], got \['x', 'z'\]"):
        forecaster.predict(X=x[60:].assign(z=1.0))
    x.iloc[62] = np.nan
    assert forecaster.predict(X=x[60:]).notna().all()


def two_columns(steps=64) -> Any:
    return pd.DataFrame({"a": series(steps, seed=3), "b": 1000 * series(steps, seed=4)})


def test_exogenous_columns_are_known_by_name():
    x, y = two_columns(), series(62)
    forecaster, other = fitted(X=x[:60]), fitted(X=x[:60])
    forecaster.update(y[60:], X=x[60:62], update_params=False)
    other.update(y[60:], X=x[["b", "a"]][60:62], update_params=False)
    x = two_columns(66)
    assert other.predict(X=x[["b", "a"]][62:]).equals(forecaster.predict(X=x[62:]))
    with pytest.raises(ValueError, match=r"X: expected the columns of fit, \['a', 'b'\], got \['a', 'c'\]"):
        forecaster.predict(X=x[62:].rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match=r"X: expected the columns of fit, \['a', 'b'\], got \['b'\]"):
        fitted(X=x[:60]).update(y[60:], X=x[["b"]][60:62], update_params=False)


def test_exogenous_columns_of_pretrain_are_known_by_name():
    x, y = two_columns(), panel(("a", "b"), steps=60)
    many: Any = pd.concat({"a": x[:60], "b": x[:60]}, names=["name", "time"])
    pretrained = [
        SpikingForecaster(**TINY, finetune_epochs=0, members=1).pretrain(y, X=many, fh=FH).clone() for _ in range(4)
    ]
    one = pretrained[0].fit(series(), X=x[:60], fh=FH).predict(X=x[60:])
    assert pretrained[1].fit(series(), X=x[["b", "a"]][:60], fh=FH).predict(X=x[60:]).equals(one)
    with pytest.raises(ValueError, match=r"X: expected the columns of fit, \['a', 'b'\], got \['a', 'c'\]"):
        pretrained[2].fit(series(), X=x[:60].rename(columns={"b": "c"}), fh=FH)
    with pytest.raises(ValueError, match=r"X: expected the columns of pretrain, \['a', 'b'\], got None"):
        pretrained[3].fit(series(), fh=FH)


def test_exogenous_values_need_a_row_at_each_step_forecast():
    x = two_columns()
    forecaster = fitted(X=x[:60])
    with pytest.raises(ValueError, match="of the forecast horizon, got none at 2005-03, 2005-04; a value"):
        forecaster.predict(X=x[60:62])
    with pytest.raises(ValueError, match="of the forecast horizon, got none at 2005-01, 2005-02, 2005-03, 2005-04;"):
        forecaster.predict(X=x[:4])
    with pytest.raises(ValueError, match="got none at 2005-01, 2005-02, 2005-03, 2005-04, 2005-05 and 7 more;"):
        fitted(X=x[:60], fh=range(1, 13)).predict_interval(X=x[:60])
    sparse = fitted(X=x[:60], fh=[2, 4])
    assert sparse.predict(X=x.iloc[[61, 63]]).equals(sparse.predict(X=x[60:]))


def test_exogenous_values_of_a_panel_need_a_row_for_each_series():
    y, x = panel(), panel(steps=54).rename(columns={"y": "x"})
    forecaster = fitted(y, X=x.loc[y.index])
    ahead = x.drop(index=y.index)
    with pytest.raises(ValueError, match="got none at 2004-04 for series 'b'"):
        forecaster.predict(X=ahead.drop(index=[("b", pd.Period("2004-04", "M"))]))


def test_exogenous_values_elsewhere_than_the_series_are_refused():
    x, y = two_columns(80), series(62)
    with pytest.raises(ValueError, match=r"X: expected rows at the time stamps of y, 2000-01..2004-12, got 2005-01.."):
        fitted(X=x[60:])
    with pytest.raises(ValueError, match=r"X: expected rows at the time stamps of y, 2005-01..2005-02, got 2000-01.."):
        fitted(X=x[:60]).update(y[60:], X=x[:60], update_params=False)
    forecaster = fitted(X=x[:50])  # the rows that are not there stand for the mean
    assert forecaster.update(y[60:], X=x[61:62], update_params=False).predict(X=x[62:66]).notna().all()


def test_exogenous_columns_of_words_are_refused_by_name():
    with pytest.raises(ValueError, match=r"expected numbers, got column 'c' of object: .*'sun'"):
        fitted(X=two_columns(60).assign(c=["sun", "rain"] * 30))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused_with_their_place(value):
    y = series()
    y.iloc[7] = value
    with pytest.raises(ValueError, match=f"expected finite values, got {value} at 2000-08"):
        fitted(y)


def test_infinite_values_are_refused_in_update_and_in_exogenous_ones():
    x, y = series(64, seed=3).to_frame("x"), series(62)
    x.iloc[9], y.iloc[61] = np.inf, np.inf
    with pytest.raises(ValueError, match="expected finite values, got inf at 2000-10"):
        fitted(X=x[:60])
    with pytest.raises(ValueError, match="expected finite values, got inf at 2005-02"):
        fitted().update(y[60:], update_params=False)


def test_a_series_without_values_is_refused_by_name():
    y = panel()
    y.loc["b"] = np.nan
    with pytest.raises(ValueError, match="got none in column 0 of series 'b'"):
        fitted(y)


def test_constant_series_stay_constant():
    forecast = fitted(pd.Series(7.0, series().index)).predict()
    assert np.allclose(forecast, 7, atol=1e-3)


def test_short_series_are_forecast_by_the_baseline_with_a_warning():
    y = pd.Series([1.0, 2.0, 4.0])
    with pytest.warns(UserWarning, match="expected 4 steps to train on, got 3"):
        forecaster = fitted(y, drift=False)
    assert np.allclose(forecaster.predict(), 4)
    assert forecaster.predict_interval(coverage=0.9).notna().to_numpy().all()


def test_a_season_longer_than_the_series_is_the_last_value_with_a_warning():
    with pytest.warns(UserWarning, match="a season of 12 steps does not fit into 10"):
        forecaster = fitted(series(10), season=12)
    assert {member.framing.season for member in forecaster.model_} == {1}


@pytest.mark.parametrize("fh", [[0], [-1, 1], [-3]])
def test_steps_already_seen_are_refused(fh):
    with pytest.raises(NotImplementedError, match="in-sample"):
        fitted(fh=fh)


def test_steps_with_gaps_are_forecast():
    assert list(fitted(fh=[2, 7]).predict().index) == [series().index[-1] + 2, series().index[-1] + 7]


def test_unknown_frequency_has_no_season_and_still_forecasts():
    forecaster = fitted(pd.Series(series().to_numpy()))
    assert {member.framing.season for member in forecaster.model_} == {1}
    assert list(forecaster.predict().index) == [60, 61, 62, 63]


def test_season_comes_from_the_index():
    assert fitted().model_.members[1].framing.season == 12


@pytest.mark.parametrize("wrong", [-1.0, 0.5])
def test_what_is_no_count_is_refused(wrong):
    y = pd.Series(np.random.default_rng(0).poisson(4, 60).astype(float))
    assert (fitted(y, distribution="negative_binomial").predict_quantiles(alpha=[0.1]) >= 0).to_numpy().all()
    y.iloc[5] = wrong
    with pytest.raises(ValueError, match=f"of at least 0 for distribution 'negative_binomial', got {wrong}"):
        fitted(y, distribution="negative_binomial")


def test_point_forecasts_say_that_they_have_no_intervals():
    forecaster = fitted(distribution="point")
    assert not forecaster.get_tag("capability:pred_int")
    with pytest.raises(NotImplementedError):
        forecaster.predict_interval()


def test_a_series_unseen_in_fit_is_refused_in_update():
    forecaster = fitted(panel(("a", "b")))
    new = panel(("a", "d"), steps=52)
    with pytest.raises(ValueError, match="expected one of the series of fit, got 'd'"):
        forecaster.update(new[new.index.get_level_values(1) >= "2004-03"], update_params=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distribution": "normal"}, "distribution: expected one of"),
        ({"neuron": "XYZ"}, "unknown neuron"),
        ({"neuron": "PSN"}, "neuron: expected one that is causal and takes any length, .*SlidingPSN do, got 'PSN'"),
        ({"neuron": "MaskedPSN"}, "neuron: expected one that is causal and takes any length, .* got 'MaskedPSN'"),
        ({"neuron": PSN}, "neuron: expected one that is causal and takes any length, .*PSN"),
        ({"block": "mamba"}, "block: expected one of"),
        ({"validation": 1.0}, "validation: expected a part"),
        ({"device": "tpu"}, "device: expected"),
        ({"members": 0}, "members: expected at least 1, got 0"),
        ({"season": 0}, "season: expected at least 1 step or None, got 0"),
        ({"lags": 0}, "lags: expected at least 1 step or None, got 0"),
        ({"lags": -3}, "lags: expected at least 1 step or None, got -3"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**options)


@pytest.mark.parametrize(("name", "value"), [("season", "M"), ("season", 12.0), ("lags", [1, 12]), ("lags", "2")])
def test_steps_that_are_no_whole_number_are_refused(name, value):
    with pytest.raises(
        TypeError, match=rf"{name}: expected a whole number of steps or None, got {re.escape(repr(value))}"
    ):
        fitted(**{name: value})


def test_sliding_neurons_are_taken():
    assert fitted(neuron="SlidingPSN").predict().notna().all()
