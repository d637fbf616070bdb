"""What sktime's own checks do not see: streams, seeds, clones, bad input."""

import doctest
import random
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from sktime.datasets import load_airline
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks
from torch.utils import _pytree as pytree

from spikeseq_forecasting import SpikingForecaster
from spikeseq_forecasting import forecaster as forecaster_module
from spikeseq_forecasting.frames import times_of
from spikeseq_forecasting.series_model import SeriesModel

TINY = {"max_epochs": 2, "width": 8, "device": "cpu", "random_state": 0}
FH = [1, 2, 3, 4]


@parametrize_with_checks(SpikingForecaster)
def test_sktime_accepts_it(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


def test_doctest():
    result = doctest.testmod(forecaster_module)
    assert result.attempted > 0 == result.failed


def series(steps=60, season=12, rise=0.3, seed=0, freq="M") -> Any:
    step = np.arange(steps)
    noise = np.random.default_rng(seed).normal(size=steps)
    index = pd.period_range("2000-01", periods=steps, freq=freq)
    return pd.Series(20 + rise * step + 5 * np.sin(2 * np.pi * step / season) + noise, index, name="y")


def panel(names=("a", "b", "c"), steps=50) -> Any:
    parts = {name: series(steps, seed=i) for i, name in enumerate(names)}
    return pd.concat(parts, names=["name", "time"]).to_frame("y")


def fitted(y: Any = None, fh: Any = FH, X: Any = None, **options: Any) -> Any:
    return SpikingForecaster(**{**TINY, **options}).fit(series() if y is None else y, X=X, fh=fh)


def recomputed(forecaster, y):
    """The forecast of the same weights that read a longer history from its beginning."""
    frame = pd.DataFrame(y)
    forecaster._set_cutoff_from_y(frame)
    forecaster._read(forecaster.data_.read(frame, None, times_of(frame), forecaster.cycles_), None)
    return forecaster.predict()


@pytest.mark.parametrize(
    "options",
    [{}, {"neuron": "LIF"}, {"neuron": "DSN"}, {"block": "spikformer"}, {"lags": 30}, {"members": 1}, {"members": 4}],
)
def test_streamed_equals_recomputed(options):
    y = series(90)
    y.iloc[[20, 65, 66]] = np.nan
    stream = fitted(y[:60], **options)
    for row in range(60, 75):
        stream.update(y[row : row + 1], update_params=False)
    stream.update(y[75:], update_params=True)
    streamed = stream.predict()
    assert np.allclose(streamed, recomputed(stream, y), rtol=1e-5)
    assert streamed.index[0] == y.index[-1] + 1


def test_streamed_panel_equals_recomputed_where_series_miss_rows():
    y = panel(steps=60)
    early, late = y[y.index.get_level_values(1) < "2004-01"], y[y.index.get_level_values(1) >= "2004-01"]
    late = late.drop(index=[("b", pd.Period("2004-03", "M"))])
    stream = fitted(early)
    stream.update(late, update_params=False)
    streamed = stream.predict()
    assert np.allclose(streamed, recomputed(stream, pd.concat([early, late]).sort_index()), rtol=1e-5)


@pytest.mark.parametrize("steps", [100, 2000])
def test_an_update_reads_its_row_alone_and_keeps_no_history(steps, monkeypatch):
    y = series(steps + 1, freq="h")
    forecaster = fitted(y[:100])
    if steps > 100:
        forecaster.update(y[100:steps], update_params=False)
    read = []
    advance = SeriesModel.advance

    def counted(model, values, *rest):
        read.append(values.shape[1])
        return advance(model, values, *rest)

    monkeypatch.setattr(SeriesModel, "advance", counted)
    before = memory_size(forecaster)
    forecaster.update(y[steps:], update_params=False)
    assert read == [1] * forecaster.members
    assert memory_size(forecaster) == before < 2500
    assert forecaster._y is None
    assert len(forecaster.data_.times) == 1


def memory_size(forecaster):
    """Numbers held in the storage of all tensors of the memory."""
    leaves = pytree.tree_leaves(forecaster.memory_)
    return sum(leaf.untyped_storage().size() // leaf.element_size() for leaf in leaves)


def test_rows_seen_before_are_not_read_twice():
    y = series(70)
    once, twice = fitted(y[:60]), fitted(y[:60])
    once.update(y[60:], update_params=False)
    twice.update(y[55:66], update_params=False)
    twice.update(y[60:], update_params=False)
    assert once.predict().equals(twice.predict())


def test_update_predict_replays_overlapping_windows():
    from sktime.split import SlidingWindowSplitter

    y = series(72)
    forecaster = fitted(y[:60], fh=[1])
    one: Any = [1]
    cv = SlidingWindowSplitter(fh=one, window_length=6, step_length=1)
    moved = forecaster.update_predict(y[60:], cv, update_params=False)
    assert forecaster.predict().index[0] == y.index[60]  # the forecaster itself did not move
    step_by_step = fitted(y[:60], fh=[1])
    step_by_step.update(y[60:66], update_params=False)
    expected = []
    for row in range(66, 72):
        expected.append(step_by_step.predict().iloc[0])
        step_by_step.update(y[row : row + 1], update_params=False)
    assert np.allclose(moved.to_numpy().ravel()[: len(expected)], expected, rtol=1e-6)


def test_no_stale_state_on_refit():
    y, other = series(), series(48, seed=5) * 3
    forecaster = fitted(other)
    forecaster.update(series(52, seed=5)[48:] * 3, update_params=False)
    assert forecaster.fit(y, fh=FH).predict().equals(fitted(y).predict())


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


def test_pretrained_weights_survive_clone_and_fit():
    forecaster = SpikingForecaster(finetune_epochs=0, **TINY).pretrain(panel(), fh=FH)
    weights = forecaster.pretrained_model_.state_dict()
    clone: Any = forecaster.clone()
    clone.fit(series(40, seed=9), fh=[1, 3])
    assert all(torch.equal(weights[name], value) for name, value in clone.model_.state_dict().items())
    assert len(clone.predict()) == 2
    forecaster.set_params(finetune_epochs=1)
    forecaster.fit(series(40, seed=9), fh=FH)
    changed = forecaster.model_.state_dict()
    assert any(not torch.equal(weights[name], value) for name, value in changed.items())
    with pytest.raises(ValueError, match="fh: expected at most 4 steps, as pretrained, got 5"):
        clone.clone().fit(series(40), fh=[5])


def test_saved_and_pickled_forecasters_continue(tmp_path):
    import pickle

    from sktime.base import load

    y = series(66)
    forecaster = fitted(y[:60])
    forecaster.save(tmp_path / "f")
    expected = forecaster.update(y[60:], update_params=False).predict()
    for again in (load(tmp_path / "f.zip"), pickle.loads(pickle.dumps(fitted(y[:60])))):
        assert {p.device.type for p in again.model_.parameters()} == {"cpu"}
        assert again.update(y[60:], update_params=False).predict().equals(expected)


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


def test_exogenous_values_have_to_be_there():
    x = series(64, seed=3).to_frame("x")
    forecaster = fitted(X=x[:60])
    with pytest.raises(ValueError, match=r"X: expected the 1 columns that fit had, .* got None"):
        forecaster.predict()
    with pytest.raises(ValueError, match="X: expected 1 columns as in fit, got 2"):
        forecaster.predict(X=x[60:].assign(z=1.0))
    x.iloc[62] = np.nan
    assert forecaster.predict(X=x[60:]).notna().all()


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


def test_rolling_forecasts_are_those_of_the_stream():
    y = series(70)
    forecaster = fitted(y[:60], max_epochs=20)
    rolled = forecaster.predict_rolling(y, [60, 65, 70])
    assert np.allclose(rolled[0, :, 0], forecaster.predict(), rtol=1e-5)
    assert np.allclose(rolled[1, :, 0], forecaster.update(y[60:65], update_params=False).predict(), rtol=1e-5)
    assert np.allclose(rolled[2, :, 0], forecaster.update(y[65:], update_params=False).predict(), rtol=1e-5)


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


# Bad input


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
        ({"block": "mamba"}, "block: expected one of"),
        ({"validation": 1.0}, "validation: expected a part"),
        ({"device": "tpu"}, "device: expected"),
        ({"members": 0}, "members: expected at least 1, got 0"),
        ({"season": 0}, "season: expected at least 1 step or None, got 0"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**options)


def test_airline_beats_seasonal_naive():
    y = load_airline()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = SpikingForecaster(season=12, random_state=0, device="cpu").fit(y[:-12], fh=range(1, 13)).predict()
    naive = np.abs(y[-12:].to_numpy() - y[-24:-12].to_numpy()).mean()
    assert np.abs(forecast - y[-12:]).mean() < 0.5 * naive
