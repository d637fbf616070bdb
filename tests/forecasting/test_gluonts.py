"""The GluonTS estimator on GluonTS' own synthetic data, and what its conventions ask for."""

import json
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from gluonts.core import serde
from gluonts.dataset.artificial import ComplexSeasonalTimeSeries, ConstantDataset
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_model
from gluonts.testutil.dummy_datasets import make_dummy_datasets_with_features
from gluonts.torch.distributions import NegativeBinomialOutput, NormalOutput, QuantileOutput, StudentTOutput

from spikeseq_forecasting.gluonts_estimator import SpikingEstimator
from spikeseq_forecasting.gluonts_predictor import SpikingPredictor

HORIZON = 4
BIAS = "model.series.network.output.bias"
OUTPUTS = {
    "student": StudentTOutput(),
    "quantile": QuantileOutput(quantiles=[0.1, 0.5, 0.9]),
    "counts": NegativeBinomialOutput(),
}


def estimator(freq="D", horizon=HORIZON, epochs=2, **options):
    trainer = {"max_epochs": epochs, "accelerator": "cpu", **options.pop("trainer_kwargs", {})}
    small = {
        "width": 8,
        "num_batches_per_epoch": 4,
        "batch_size": 8,
        "random_state": 0,
        "context_length": 24,
        "lags": 7,
    }
    return SpikingEstimator(freq, horizon, **{**small, **options}, trainer_kwargs=trainer)


def data(*targets, freq="D", start="2020-01-01", **fields):
    return ListDataset(
        [
            {"item_id": f"i{i}", "start": start, "target": t, **{k: v[i] for k, v in fields.items()}}
            for i, t in enumerate(targets)
        ],
        freq,
    )


def wave(length, level=10.0, period=7, seed=0):
    noise = np.random.default_rng(seed).normal(size=length)
    return level + 3 * np.sin(2 * np.pi * np.arange(length) / period) + 0.1 * noise


def medians(forecasts):
    return np.stack([forecast.quantile(0.5) for forecast in forecasts])


@pytest.mark.parametrize("output", OUTPUTS)
def test_constant_series_train_predict_serialise_evaluate(output, tmp_path):
    series = ConstantDataset(num_steps=60, freq="1h")
    train, test = (ListDataset(list(part)[:4], "1h") for part in (series.train, series.test))
    made = estimator("1h", 24, context_length=30, season=8, distr_output=OUTPUTS[output])
    predictor = made.train(train)
    before = list(predictor.predict(test))
    assert [forecast.start_date for forecast in before] == [e["start"] + len(e["target"]) for e in test]
    predictor.serialize(tmp_path)
    loaded = SpikingPredictor.deserialize(tmp_path, device="cpu")
    np.testing.assert_array_equal(medians(loaded.predict(test)), medians(before))
    assert {p.device.type for p in loaded.prediction_net.parameters()} == {"cpu"}
    pairs = split(test, offset=-24)[1].generate_instances(24)
    scores = evaluate_model(predictor, test_data=pairs, metrics=[MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])])
    assert scores.iloc[0, 0] < 0.5


def test_complex_seasonal_series():
    series = ComplexSeasonalTimeSeries(
        num_series=4,
        freq_str="D",
        prediction_length=HORIZON,
        length_low=60,
        length_high=80,
        proportion_missing_values=0.0,
    )
    predictor = estimator(epochs=4).train(series.train)
    pairs = split(series.test, offset=-HORIZON)[1].generate_instances(HORIZON)
    scores = evaluate_model(predictor, test_data=pairs, metrics=[MASE()], seasonality=1, mask_invalid_label=False)
    assert float(scores.iloc[0, 0]) < 5


@pytest.mark.parametrize("output", OUTPUTS)
def test_dummy_data_with_features(output):
    train, test = make_dummy_datasets_with_features(
        cardinality=[5, 3], num_feat_dynamic_real=2, prediction_length=3, min_length=8, max_length=12
    )
    features = {"num_feat_dynamic_real": 2, "num_feat_static_cat": 2, "cardinality": [6, 4]}
    forecasts = list(estimator(horizon=3, distr_output=OUTPUTS[output], **features).train(train).predict(test))
    assert len(forecasts) == 5
    assert np.isfinite(medians(forecasts)).all()


def test_each_feature_reaches_the_forecast():
    entry = {"feat_static_cat": [[0], [1]], "feat_static_real": [[0.0], [1.0]]}
    dynamic = [np.zeros((1, 44)), np.zeros((1, 44))]
    train = data(wave(40), wave(40, 20.0), **entry, feat_dynamic_real=[d[:, :40] for d in dynamic])
    made = estimator(num_feat_static_cat=1, cardinality=[2], num_feat_static_real=1, num_feat_dynamic_real=1)
    predictor = made.train(train)
    plain = {"feat_static_cat": [[0]], "feat_static_real": [[0.0]], "feat_dynamic_real": [dynamic[0]]}

    def forecast(**changed):
        return medians(predictor.predict(data(wave(40), **{**plain, **changed})))

    for changed in (
        {"feat_static_cat": [[1]]},
        {"feat_static_real": [[5.0]]},
        {"feat_dynamic_real": [np.ones((1, 44))]},
        {"start": "2020-01-04"},
    ):
        assert np.abs(forecast(**changed) - forecast()).max() > 1e-4, changed


@pytest.mark.filterwarnings("ignore:'Y' is deprecated:FutureWarning")  # GluonTS asks pandas for it
def test_yearly_data_without_time_features():
    predictor = estimator("Y", horizon=2).train(data(wave(30), freq="Y", start="1950"))
    assert medians(predictor.predict(data(wave(30), freq="Y", start="1950"))).shape == (1, 2)


def test_it_learns_what_the_baseline_does_not_know():
    """Series that alternate: the last value is always wrong."""
    series = [10.0 + np.where(np.arange(60) % 2 == phase, 1.0, -1.0) for phase in (0, 1)]
    made = estimator(epochs=10, season=1, num_batches_per_epoch=10, drift=False)
    truth = np.stack([s[:HORIZON] for s in series])  # 60 is even
    assert np.abs(medians(made.train(data(*series)).predict(data(*series))) - truth).mean() < 0.3


def test_the_scale_of_a_series_scales_its_forecast():
    predictor = estimator(scaling="std").train(data(wave(60)))
    small, large = medians(predictor.predict(data(wave(60), 1000 * wave(60))))
    np.testing.assert_allclose(large, 1000 * small, rtol=1e-3)


def test_callbacks_serve_every_training_and_no_file_is_left(tmp_path, monkeypatch):
    class Counter(pl.Callback):
        starts = 0

        def on_fit_start(self, trainer, pl_module):  # noqa: ARG002
            self.starts += 1

    monkeypatch.chdir(tmp_path)
    counter = Counter()
    made = estimator(trainer_kwargs={"callbacks": [counter], "max_steps": 2})
    outcome = made.train_model(data(wave(60)))
    made.train(data(wave(60)))
    assert counter.starts == 2
    assert outcome.trainer.global_step == 2
    assert list(tmp_path.iterdir()) == []


def test_seeds():
    series = data(wave(60))

    def trained(**options):
        return medians(estimator(**options).train(series).predict(series))

    state = torch.random.get_rng_state()
    first = trained(random_state=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(trained(random_state=3), first)
    assert np.abs(trained(random_state=4) - first).max() > 0
    runs = [(torch.manual_seed(5), trained(random_state=None))[1] for _ in range(2)]
    np.testing.assert_array_equal(runs[0], runs[1])


def test_validation_keeps_the_best_weights():
    """A run whose last epochs can only spoil: validation data of another level of noise decide."""
    series, later = data(wave(80)), data(wave(84))
    losses = []

    class Losses(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            losses.append(
                (
                    float(trainer.callback_metrics["val_loss"]),
                    pl_module.state_dict()["model.series.network.output.bias"].clone(),
                )
            )

    made = estimator(epochs=4, lr=0.3, trainer_kwargs={"callbacks": [Losses()]})
    bias = made.train(series, later).prediction_net.state_dict()[BIAS]
    assert len(losses) == 4
    assert torch.equal(bias, min(losses, key=lambda pair: pair[0])[1])


def test_train_from_goes_on_from_a_predictor():
    series = data(wave(80))
    predictor = estimator(epochs=3).train(series)
    still = estimator(lr=1e-12, random_state=9).train_from(predictor, series)
    np.testing.assert_allclose(medians(still.predict(series)), medians(predictor.predict(series)), rtol=1e-5)


def test_arguments_survive_encoding():
    made = estimator(distr_output=OUTPUTS["quantile"], neuron="LIF", neuron_options={"decay": 0.8})
    again = serde.decode(json.loads(json.dumps(serde.encode(made))))
    assert serde.encode(again) == serde.encode(made)
    assert again.distr_output.quantiles == [0.1, 0.5, 0.9]


def test_inputs_are_as_described():
    model = estimator(num_feat_static_cat=1, cardinality=[3]).create_lightning_module().model
    (arguments, loc, scale) = model(**model.describe_inputs(5).zeros())
    assert {a.shape for a in arguments} == {(5, HORIZON)}
    assert loc.shape == scale.shape == (5, 1)


def test_missing_values():
    hole = wave(60)
    hole[[0, 1, 20, 21, 22, 59]] = np.nan
    train = data(hole, np.full(60, np.nan), np.full(60, 5.0), np.zeros(60))
    forecasts = list(estimator(epochs=4).train(train).predict(train))
    assert np.isfinite(medians(forecasts)).all()
    for forecast, level in zip(forecasts, (10.0, 0.0, 5.0, 0.0), strict=True):
        assert np.abs(forecast.quantile(0.5) - level).max() < 6


def test_padding_changes_nothing():
    """A short series, which GluonTS pads to the context, is as that series alone."""
    predictor = estimator().train(data(wave(60)))
    model: Any = predictor.prediction_net.model
    values = torch.tensor(wave(12)).float()[None]
    padded = torch.cat((torch.full((1, 12), torch.nan), values), 1)
    features = torch.randn(1, 24 + HORIZON, model.series.calendar)
    with torch.no_grad():
        (alone, *_), _ = model.advance(values, features[:, 12:], None)
        (after, *_), _ = model.advance(padded, features, None)
    for one, other in zip(alone, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_short_series_are_forecast():
    predictor = estimator().train(data(wave(60)))
    assert np.isfinite(medians(predictor.predict(data(wave(1), wave(3))))).all()


def test_bad_input():
    with pytest.raises(ValueError, match="item i1: expected finite or missing"):
        estimator().train(data(wave(60), np.array([*wave(60), np.inf])))
    with pytest.raises(ValueError, match=r"item i0: expected counts of at least 0, got -1"):
        estimator(distr_output=OUTPUTS["counts"]).train(data(np.array([*range(60), -1.0])))
    for targets in ([wave(4)], [np.full(60, np.nan)], []):
        with pytest.raises(ValueError, match="more than prediction_length = 4 steps, got none"):
            estimator().train(data(*targets))
    with pytest.raises(ValueError, match="train_from"):
        estimator().train(data(wave(60)), ckpt_path="some.ckpt")
    with pytest.raises(TypeError, match="NormalOutput"):
        estimator(distr_output=NormalOutput())
    with pytest.raises(ValueError, match="'batch'"):
        estimator(scaling="batch")
    with pytest.raises(ValueError, match="cardinality: expected 2 numbers"):
        estimator(num_feat_static_cat=2, cardinality=[3])
    with pytest.raises(ValueError, match=r"below context_length = 24, got season = 30"):
        estimator(season=30)
    for horizon in (0, -2):
        with pytest.raises(ValueError, match=f"prediction_length: expected at least 1 step, got {horizon}"):
            estimator(horizon=horizon)
    nothing: list[dict[str, Any]] = [{"season": 0}, {"lags": 0}, {"context_length": 0}]
    for options in nothing:
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected at least 1 step or None, got 0"):
            estimator(**options)
    with pytest.raises(ValueError, match="neuron: expected one that is causal and takes any length"):
        estimator(neuron="PSN").train(data(wave(60)))


def test_infinite_values_and_unseen_categories_in_a_forecast():
    train = data(wave(60), feat_static_cat=[[0]])
    predictor = estimator(num_feat_static_cat=1, cardinality=[2]).train(train)
    with pytest.raises(ValueError, match="infinite"):
        list(predictor.predict(data(np.array([*wave(30), np.inf]), feat_static_cat=[[0]])))
    with pytest.raises(ValueError, match=r"0\.\.1 of feature 0, got 2; an item unseen in training"):
        list(predictor.predict(data(wave(30), feat_static_cat=[[2]])))
