"""Time stamps without a row are missing values: as if the row were there with NaN."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sktime.datasets import load_airline

from spikeseq_forecasting import SpikingForecaster, plots
from spikeseq_forecasting.axis import frequency_of, whole

from .examples import TINY, fitted, panel, series

LOST = [7, 8, 9, 20, 33]  # rows of 60


def indexed(kind, steps=60) -> Any:
    y = series(steps)
    index = {
        "periods": y.index,
        "numbers": pd.RangeIndex(5, 5 + steps),
        "months": pd.date_range("2000-01-01", periods=steps, freq="MS"),
        "hours": pd.date_range("2000-01-01", periods=steps, freq="h"),
        "weeks": pd.date_range("2000-01-02", periods=steps, freq="W"),
        "zone": pd.date_range("2000-03-20", periods=steps, freq="D", tz="Europe/Berlin"),
    }[kind]
    return y.set_axis(index)


KINDS = ["periods", "numbers", "months", "hours", "weeks", "zone"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_absent_in_fit_are_missing_values(kind):
    y = indexed(kind)
    marked = y.copy()
    marked.iloc[LOST] = np.nan
    absent, present = fitted(y.drop(y.index[LOST]), season=12).predict(), fitted(marked, season=12).predict()
    assert absent.equals(present)
    assert absent.index.equals(present.index)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [1, 4, 6])
def test_an_update_over_a_gap_reads_missing_values(kind, first):
    y = indexed(kind, 68)
    marked = y[60:].copy()
    marked.iloc[:first] = np.nan
    marked.iloc[6:7] = np.nan
    leapt, read = fitted(y[:60], season=12), fitted(y[:60], season=12)
    new = y[60:].drop(y.index[[*range(60, 60 + first), 66]])
    for row in range(len(new)):
        leapt.update(new[row : row + 1], update_params=False)
    assert np.allclose(leapt.predict(), read.update(marked, update_params=False).predict(), rtol=1e-5)
    assert leapt.predict().index.equals(read.predict().index)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gap_may_be_long(kind):
    y = indexed(kind, 501)
    marked = y[60:].copy()
    marked[:-1] = np.nan
    leapt, read = (fitted(y[:60], season=12).update(new, update_params=False) for new in (y[500:], marked))
    assert np.allclose(leapt.predict(), read.predict(), rtol=1e-5)


def test_exogenous_values_of_absent_rows_are_read():
    y, x = series(68), series(72, seed=3).to_frame("x")
    marked = y.copy()
    marked.iloc[[*LOST, 60, 61, 65]] = np.nan
    forecasts = []
    for part in (marked, marked.dropna()):
        early, late = part[part.index <= y.index[59]], part[part.index > y.index[59]]
        forecaster = fitted(early, X=x[:60]).update(late, X=x[60:68], update_params=False)
        forecasts.append(forecaster.predict(X=x[68:]))
    assert np.allclose(*forecasts, rtol=1e-5)


def test_a_figure_shows_the_gap():
    y = series().drop(series().index[[20, 40]])
    seen = plots.forecast(fitted(y), y).axes[-1].lines[0].get_ydata()
    assert list(np.flatnonzero(np.isnan(seen))) == [20, 40]


def test_a_season_stays_in_phase_over_a_gap():
    """Eight months without rows: the forecast goes on where the calendar is, not where the rows are."""
    y: Any = load_airline()
    forecaster: Any = SpikingForecaster(season=12, random_state=0, device="cpu", max_epochs=2).fit(
        y[:108], fh=range(1, 13)
    )
    forecast = forecaster.update(y[116:120], update_params=False).predict()
    assert np.corrcoef(forecast, y[120:132])[0, 1] > 0.95


def test_a_panel_may_lack_a_time_stamp_in_all_series():
    y = panel(steps=60)
    times = y.index.get_level_values(1)
    marked = y.copy()
    marked[times.isin(y.loc["a"].index[[11, 12, 55]])] = np.nan
    whole_panel = marked[times < "2004-03"], marked[times >= "2004-03"]
    forecasts = []
    for early, late in (whole_panel, [part.dropna() for part in whole_panel]):
        forecasts.append(fitted(early).update(late, update_params=False).predict())
    assert np.allclose(*forecasts, rtol=1e-5)
    assert forecasts[0].index.equals(forecasts[1].index)


def test_a_panel_of_dates_needs_no_frequency_of_its_own():
    y = panel()
    y.index = pd.MultiIndex.from_tuples([(name, time.to_timestamp()) for name, time in y.index], names=y.index.names)
    forecast = fitted(y.drop(index=[(name, pd.Timestamp("2001-05-01")) for name in "abc"])).predict()
    assert forecast.loc["a"].index[0] == pd.Timestamp("2004-03-01")


def test_origins_of_rolling_forecasts_count_rows():
    y = series(70)
    y = y.drop(y.index[[20, 62, 63]])
    forecaster = fitted(y[:57])
    rolled = forecaster.predict_rolling(y, [57, 62])
    assert np.allclose(rolled[0, :, 0], forecaster.predict(), rtol=1e-5)
    assert np.allclose(rolled[1, :, 0], forecaster.update(y[57:62], update_params=False).predict(), rtol=1e-5)


@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W-WED", "MS", "ME", "QS", "3ME", "YS", "36h"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_frequency_is_found_where_stamps_are_missing(freq, first):
    times = pd.date_range("2020-01-15", periods=40, freq=freq)[first:]
    holed = pd.DatetimeIndex(times.delete([5, 6, 20, 31]))
    assert whole(holed).equals(times)
    y = pd.Series(1.0 * np.arange(len(holed)), holed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, on sktime's use of business days
        assert list(fitted(y[:-2], fh=[1, 2], season=1).predict().index) == list(times[-2:])


def test_business_days_without_a_holiday_have_weeks_of_five():
    times = pd.bdate_range("2024-01-01", periods=90).delete([30])
    y = pd.Series(series(89).to_numpy(), pd.DatetimeIndex(times))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, on sktime's use of business days
        forecaster = fitted(y)
        assert forecaster.model_.members[1].framing.season == 5
        assert forecaster.predict().index[0] == times[-1] + pd.offsets.BDay()


def test_dates_of_no_spacing_are_refused_before_training():
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.random.default_rng(0).integers(1, 10**7, 40).cumsum(), "s")
    with pytest.raises(ValueError, match=r"y: expected time stamps with a frequency, .* give them one, such as y.asf"):
        fitted(pd.Series(1.0 * np.arange(40), times))
    with pytest.raises(ValueError, match="y: expected whole numbers that count the steps one by one"):
        fitted(pd.Series(1.0 * np.arange(40), 86400 * np.arange(40)))
    with pytest.raises(ValueError, match="with a frequency"):
        frequency_of(pd.DatetimeIndex(["2024-01-01"]))


def test_an_update_between_the_steps_is_refused():
    y = indexed("hours", 62)
    late = y[60:].set_axis(y.index[60:] + pd.Timedelta("30min"))
    with pytest.raises(ValueError, match="y: expected time stamps of frequency h, as in fit, got 2000-01-03 12:30"):
        SpikingForecaster(**TINY).fit(y[:60], fh=[1]).update(late, update_params=False)
