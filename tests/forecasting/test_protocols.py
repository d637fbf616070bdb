"""Borders and counts as published, scores against closed forms and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from spikeseq_forecasting.protocols import (
    LONG_HORIZONS,
    SEQSNN,
    SEQSNN_HORIZONS,
    borders,
    evaluate,
    long_horizon,
    seqsnn,
)

NOISE = np.random.default_rng(0).normal(size=(17420, 2))


def test_published_borders():
    assert borders("ETTh1", 17420) == (8640, 11520, 14400)
    assert borders("ETTm2", 69680) == (34560, 46080, 57600)
    assert borders("exchange_rate", 7588) == (5311, 6071, 7588)
    assert borders("electricity", 26304) == (18412, 21044, 26304)


@pytest.mark.parametrize(("name", "steps"), [("ETTh1", 17420), ("exchange_rate", 7588)])
@pytest.mark.parametrize("horizon", LONG_HORIZONS)
def test_windows_fill_their_part_and_no_other(name, steps, horizon):
    first, second, end = borders(name, steps)
    split = long_horizon(name, NOISE[:steps], horizon, lookback=96)
    for starts, begin, stop in ((split.train, 96, first), (split.validation, first, second), (split.test, second, end)):
        assert starts[0] == begin
        assert starts[-1] + horizon == stop
        assert len(starts) == stop - begin - horizon + 1


def test_window_counts_that_published_code_prints_for_etth1():
    split = long_horizon("ETTh1", NOISE, 96, lookback=96)
    assert (len(split.train), len(split.validation), len(split.test)) == (8449, 2785, 2785)


def test_scale_is_the_training_parts():
    values = 3 * NOISE + [5.0, -2.0]
    split = long_horizon("ETTh1", values, 96)
    np.testing.assert_allclose(split.values[:8640].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(split.values[:8640].std(axis=0), 1)
    other = values.copy()
    other[8640:] += 100
    np.testing.assert_array_equal(long_horizon("ETTh1", other, 96).values[:8640], split.values[:8640])


def test_a_constant_series_stays_finite():
    values = np.concatenate((NOISE[:2000], np.full((2000, 1), 7.0)), axis=1)
    assert np.isfinite(long_horizon("traffic", values, 96).values).all()
    assert np.isfinite(seqsnn("METR-LA", 0 * values, 6).values).all()


@pytest.mark.parametrize("name", SEQSNN)
@pytest.mark.parametrize("horizon", SEQSNN_HORIZONS)
def test_seqsnn_windows(name, horizon):
    rules, values = SEQSNN[name], NOISE[:3000]
    split = seqsnn(name, values, horizon)
    every = np.concatenate((split.train, split.validation, split.test))
    np.testing.assert_array_equal(every, np.arange(rules.window, 3000 - horizon + 1))
    assert len(split.train) == int(len(every) * rules.train)
    assert len(split.test) == int(len(every) * rules.test)


def test_seqsnn_scales():
    values = NOISE[:600] * [1.0, 10.0]
    np.testing.assert_allclose(np.abs(seqsnn("PEMS-BAY", values, 6).values).max(axis=0), 1)
    scaled = seqsnn("solar", values, 6).values
    assert scaled.mean() == pytest.approx(0, abs=1e-12)
    assert scaled.std() == pytest.approx(1)
    assert scaled[:, 1].std() > 5 * scaled[:, 0].std()


def windows(values, starts, horizon):
    return np.stack([values[start : start + horizon] for start in starts])


@given(st.integers(1, 9), st.integers(2, 40), st.integers(1, 13), st.integers(0, 99))
def test_scores_equal_scikit_learns_whatever_the_batch(horizon, count, batch, seed):
    values = NOISE[seed : seed + 60]
    starts = np.arange(5, 5 + count)
    truth = windows(values, starts, horizon)
    made = truth + np.random.default_rng(seed).normal(size=truth.shape)
    scores = evaluate(lambda some: made[some - 5], values, starts, horizon, batch)
    assert scores.mse == pytest.approx(mean_squared_error(truth.ravel(), made.ravel()))
    assert scores.mae == pytest.approx(mean_absolute_error(truth.ravel(), made.ravel()))
    assert scores.r2 == pytest.approx(r2_score(truth.ravel(), made.ravel()))


def test_closed_forms():
    starts, horizon = np.arange(10, 200), 6
    truth = windows(NOISE, starts, horizon)
    perfect = evaluate(lambda some: truth[some - 10], NOISE, starts, horizon)
    assert (perfect.mse, perfect.mae, perfect.r2, perfect.rse) == (0, 0, 1, 0)
    centre = np.broadcast_to(truth.mean(axis=0), truth.shape)
    assert evaluate(lambda some: centre[some - 10], NOISE, starts, horizon).rse == pytest.approx(1)
    grand = np.full_like(truth, truth.mean(axis=0).mean())
    assert evaluate(lambda some: grand[some - 10], NOISE, starts, horizon).r2 == pytest.approx(0)
    shifted = evaluate(lambda some: truth[some - 10] + 0.5, NOISE, starts, horizon)
    assert (shifted.mse, shifted.mae) == pytest.approx((0.25, 0.5))


def test_bad_input():
    with pytest.raises(ValueError, match="14400 rows, got 100"):
        borders("ETTh1", 100)
    with pytest.raises(ValueError, match=r"horizon = 720 steps, got 350"):
        long_horizon("traffic", NOISE[:500], 720)
    with pytest.raises(ValueError, match="METR-LA"):
        seqsnn("ETTh1", NOISE, 6)
    with pytest.raises(ValueError, match="168"):
        seqsnn("solar", NOISE[:170], 6)
    starts = np.arange(3)
    with pytest.raises(ValueError, match=r"\[3, 4, 2\], got \[3, 2\]"):
        evaluate(lambda some: np.zeros((len(some), 2)), NOISE, starts, 4)
    with pytest.raises(ValueError, match="finite"):
        evaluate(lambda some: np.full((len(some), 4, 2), np.nan), NOISE, starts, 4)
    with pytest.raises(ValueError, match="none"):
        evaluate(lambda some: np.zeros((len(some), 4, 2)), NOISE, starts[:0], 4)
    with pytest.raises(ValueError, match="constant"):
        evaluate(lambda some: np.zeros((len(some), 4, 2)), 0 * NOISE, starts, 4)
