"""Windows, baselines, seasons and calendars by their closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq_forecasting.calendars import DAY, WEEK, YEAR, calendar, cycles_of, season_of, sizes
from spikeseq_forecasting.features import Framing, fill_forward, fill_season
from spikeseq_forecasting.series_model import SeriesModel

NAN = torch.nan


def test_missing_values_are_those_before():
    values = torch.tensor([[NAN, 1.0, NAN, 3.0, NAN]])
    assert fill_forward(values).tolist() == [[1, 1, 1, 3, 3]]
    assert fill_forward(values, torch.tensor([7.0])).tolist() == [[7, 1, 1, 3, 3]]


@given(season=st.integers(1, 6), time=st.integers(1, 20))
def test_missing_values_are_those_of_a_season_before(season, time):
    values = torch.where(torch.rand(2, time) < 0.5, NAN, torch.randn(2, time))
    expected = values.clone()
    for t in range(season, time):
        expected[:, t] = torch.where(values[:, t].isnan(), expected[:, t - season], values[:, t])
    assert torch.equal(fill_season(values, season).nan_to_num(99), expected.nan_to_num(99))


@given(season=st.integers(1, 5), horizon=st.integers(1, 12), rise=st.floats(-2, 2), seasons=st.integers(2, 4))
def test_baseline_continues_a_season_with_a_trend(season, horizon, rise, seasons):
    """A pattern that repeats and rises evenly is forecast exactly, once two seasons were seen."""
    time = seasons * season
    pattern = torch.randn(season, dtype=torch.float64)
    step = torch.arange(time + horizon)
    y = pattern[step % season] + rise * step
    model = SeriesModel(Framing(horizon, season, lags=2), width=4).double()
    seen = model.look(y[None, :time])
    baseline = model.framing.baseline_of(seen.window[:, -1], seen.slope[:, -1])
    assert torch.allclose(baseline[0], y[time:], atol=1e-9)


def test_without_drift_the_baseline_is_seasonal_naive():
    y = torch.randn(1, 11)
    seen = SeriesModel(Framing(5, 3, lags=1), width=4).look(y)
    baseline = Framing(5, 3, lags=1, drift=False).baseline_of(seen.window[:, -1], seen.slope[:, -1])
    assert baseline[0].tolist() == y[0, [8, 9, 10, 8, 9]].tolist()


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("30min", 48), ("D", 7), ("B", 5), ("W", 52), ("M", 12), ("Q", 4), ("Y", 1)],
)
def test_season_by_frequency(freq, season):
    periods = pd.period_range("2000-01-03", periods=30, freq=freq) if freq != "B" else None
    dates = pd.date_range("2000-01-03", periods=30, freq={"M": "MS", "Q": "QS", "Y": "YS"}.get(freq, freq))
    assert season_of(dates) == season
    if periods is not None:
        assert season_of(periods) == season


@pytest.mark.parametrize(
    ("freq", "steps", "wanted", "found"),
    [
        ("h", 2000, (None, None), (24, 169)),
        ("M", 200, (None, None), (12, 25)),
        ("Y", 200, (None, None), (1, 24)),
        ("M", 200, (4, 30), (4, 30)),
        ("M", 60, (None, None), (12, 20)),
        ("M", 2, (1, None), (1, 1)),
    ],
)
def test_lags_span_seasons_and_a_third_of_the_series_at_most(freq, steps, wanted, found):
    assert sizes(pd.period_range("2000", periods=steps, freq=freq), *wanted) == found


def test_unknown_frequency_has_no_season():
    assert season_of(pd.RangeIndex(40)) == 1
    assert season_of(pd.DatetimeIndex(["2020-01-01"])) == 1


def test_calendar_repeats_with_its_cycles():
    hours = pd.date_range("2020-01-01", periods=24 * 30, freq="h")
    assert cycles_of(hours) == (DAY, WEEK)
    assert cycles_of(pd.period_range("2000", periods=30, freq="M")) == (YEAR,)
    assert cycles_of(pd.RangeIndex(9)) == ()
    values = calendar(hours, (DAY, WEEK))
    assert np.allclose(values[: -24 * 7], values[24 * 7 :], atol=1e-4)
    assert not np.allclose(values[:-24], values[24:], atol=1e-1)
    assert np.abs(values).max() <= 1


def test_windows_of_a_short_series_repeat_its_first_value():
    values = torch.tensor([[NAN, 4.0, 5.0, NAN, 7.0]])
    seen = SeriesModel(Framing(2, 1, lags=2), width=4).look(values)
    assert seen.window[0].tolist() == [[4, 4, 4], [4, 4, 4], [4, 4, 5], [4, 5, 5], [5, 5, 7]]
    assert seen.age[0].tolist() == [0, 1, 2, 3, 4]
    assert seen.observed[0].tolist() == [False, True, True, False, True]
