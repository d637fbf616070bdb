"""Forecasts that go on from a carried state equal those from the whole history."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeseq_forecasting.gluonts_predictor import StatefulPredictor

from .test_gluonts import HORIZON, OUTPUTS, data, estimator, wave

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def predictor():
    return estimator().train(data(wave(80)))


def quantiles(forecasts):
    return np.stack([[forecast.quantile(level) for level in LEVELS] for forecast in forecasts])


def fed(predictor, target, cuts, **fields):
    """The last forecast of a series that comes in pieces."""
    stateful = StatefulPredictor(predictor)
    for begin, end in zip([0, *cuts], [*cuts, len(target)], strict=True):
        start = str(np.datetime64("2020-01-01") + begin)
        last = list(stateful.predict(data(target[begin:end], start=start, **fields)))
    return quantiles(last)


@settings(max_examples=20)
@given(st.data())
def test_streamed_equals_recomputed(predictor, draw):
    length = draw.draw(st.integers(2, 60))
    target = wave(length, seed=length)
    target[draw.draw(st.lists(st.integers(0, length - 1), max_size=12))] = np.nan
    cuts = sorted(draw.draw(st.sets(st.integers(1, length - 1), max_size=5)))
    np.testing.assert_allclose(fed(predictor, target, cuts), fed(predictor, target, []), rtol=1e-5, atol=1e-5)


def test_step_by_step_equals_at_once(predictor):
    target = np.array([np.nan, np.nan, *wave(40)])
    np.testing.assert_allclose(fed(predictor, target, range(1, 42)), fed(predictor, target, []), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("output", OUTPUTS)
def test_equals_the_plain_predictor_within_its_context(output):
    series = [np.round(wave(length)) for length in (9, 17, 24)]
    predictor = estimator(distr_output=OUTPUTS[output]).train(data(wave(80).round()))
    plain = quantiles(predictor.predict(data(*series)))
    stateful = quantiles(StatefulPredictor(predictor).predict(data(*series)))
    np.testing.assert_allclose(stateful, plain, rtol=1e-4, atol=1e-4)


def test_features_go_on_too():
    dynamic = np.random.default_rng(0).normal(size=(1, 64))
    made = estimator(num_feat_dynamic_real=1, num_feat_static_cat=1, cardinality=[2])
    predictor = made.train(data(wave(60), feat_dynamic_real=[dynamic[:, :60]], feat_static_cat=[[1]]))

    def entry(begin, end):
        known = dynamic[:, begin : end + HORIZON]
        start = str(np.datetime64("2020-01-01") + begin)
        return data(wave(60)[begin:end], start=start, feat_dynamic_real=[known], feat_static_cat=[[1]])

    whole = quantiles(StatefulPredictor(predictor).predict(entry(0, 60)))
    for second in (40, 13):  # new values alone; values seen before, sent again
        stateful = StatefulPredictor(predictor)
        list(stateful.predict(entry(0, 40)))
        np.testing.assert_allclose(quantiles(stateful.predict(entry(second, 60))), whole, rtol=1e-5, atol=1e-5)


def test_items_are_kept_apart_and_may_be_new(predictor):
    stateful = StatefulPredictor(predictor)
    one, two = wave(30), wave(30, level=50.0)
    list(stateful.predict(data(one)))
    both = quantiles(stateful.predict(data(one, two)))
    np.testing.assert_allclose(both, np.concatenate([fed(predictor, one, []), fed(predictor, two, [])]), rtol=1e-5)


def test_without_new_values_the_forecast_stays(predictor):
    stateful = StatefulPredictor(predictor)
    first, second = (list(stateful.predict(data(wave(30)))) for _ in range(2))
    np.testing.assert_array_equal(quantiles(second), quantiles(first))
    assert second[0].start_date == first[0].start_date
    assert second[0].item_id == "i0"


def test_gaps_and_the_past_are_refused_and_forgetting_helps(predictor):
    stateful = StatefulPredictor(predictor)
    list(stateful.predict(data(wave(30))))
    with pytest.raises(ValueError, match=r"item i0: expected values that reach from 2020-01-31 or earlier"):
        list(stateful.predict(data(wave(5), start="2020-02-02")))
    with pytest.raises(ValueError, match="10 from 2020-01-01 on"):
        list(stateful.predict(data(wave(10))))
    stateful.forget("i0")
    np.testing.assert_allclose(quantiles(stateful.predict(data(wave(10)))), fed(predictor, wave(10), []))
    with pytest.raises(KeyError):
        stateful.forget("unknown")
    nameless = [{key: value for key, value in entry.items() if key != "item_id"} for entry in data(wave(9))]
    with pytest.raises(ValueError, match="item_id"):
        list(stateful.predict(nameless))


def test_a_series_without_any_value_yet(predictor):
    forecast = fed(predictor, np.full(10, np.nan), [3, 7])
    assert np.isfinite(forecast).all()
    target = np.array([*np.full(10, np.nan), *wave(20)])
    np.testing.assert_allclose(fed(predictor, target, [4, 15]), fed(predictor, target, []), rtol=1e-5, atol=1e-5)
