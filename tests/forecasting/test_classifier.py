"""The classifier: sktime's own checks, then what they do not see."""

import doctest
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.base import load
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

from spikeseq_forecasting import classifier as module
from spikeseq_forecasting.classifier import SpikingClassifier

SMALL: dict[str, Any] = {
    "features": 400, "width": 8, "depth": 1, "max_epochs": 3, "device": "cpu", "random_state": 0,
}  # fmt: skip


def small(**options) -> Any:
    return SpikingClassifier(**SMALL | options)


@parametrize_with_checks(SpikingClassifier)
def test_sktime(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


def test_doctest():
    assert doctest.testmod(module).failed == 0


def waves(n=24, time=30, channels=1, seed=0):
    """Slow and fast waves of random phase: numpy3D and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    phase = rng.uniform(0, 6, (n, channels, 1))
    X = np.sin(np.arange(time) * (0.4 + 0.5 * y[:, None, None]) + phase) + 0.1 * rng.normal(size=(n, channels, time))
    return X, np.where(y, "fast", "slow")


def products(n=160, time=12, seed=0):
    """Two channels, each high or low; the class is the product of their signs, which no sum over channels tells."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], (n, 2, 1))
    return signs + 0.3 * rng.normal(size=(n, 2, time)), (signs.prod((1, 2)) > 0).astype(int)


@pytest.fixture(scope="module")
def with_trunk():
    """A classifier whose trunk is in use, and its data."""
    X, y = products()
    fitted = small(features=1, max_epochs=25, patience=None).fit(X, y)
    assert fitted.trunk_used_
    return fitted, X, y


def frames(X):
    return [pd.DataFrame(series.T) for series in X]


def test_it_generalises():
    X, y = waves()
    fitted = small().fit(X, y)
    assert (fitted.predict(waves(seed=1)[0]) == y).mean() > 0.9
    assert fitted.trunk_used_ is False  # fewer instances than it is trained for


def test_the_trunk_learns_what_the_bank_cannot_and_is_kept_only_then(with_trunk):
    whole, X, y = with_trunk
    new, truth = products(seed=1)
    alone = small(features=1, max_epochs=0).fit(X, y)
    assert alone.trunk_used_ is False
    assert (whole.predict(new) == truth).mean() > (alone.predict(new) == truth).mean() + 0.1
    noise = np.random.default_rng(0).permutation(y)
    assert small(features=1).fit(X, noise).trunk_used_ is False


def test_probabilities_are_calibrated_and_not_certain():
    X, y = waves(n=40)
    noisy = y.copy()
    noisy[:8] = y[:8][::-1]  # a fifth of the labels wrong
    new, truth = waves(n=200, seed=2)
    probability = small().fit(X, noisy).predict_proba(new)
    right = probability[np.arange(200), (truth == "slow").astype(int)]
    assert 0.55 < right.mean() < 0.95


def test_random_state_decides_and_global_generators_go_on():
    X, y = products(n=60)

    def draws(**options):
        return small(**options).fit(X, y).predict_proba(X)

    assert np.array_equal(draws(), draws())
    assert np.array_equal(draws(random_state=np.random.RandomState(3)), draws(random_state=np.random.RandomState(3)))
    assert not np.array_equal(draws(), draws(random_state=1))
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    draws(random_state=None)
    after = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    assert after == (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002


def test_an_instance_is_judged_alone_however_it_is_padded(with_trunk):
    fitted, X, _ = with_trunk
    short, long = X[:4, :, :7], np.tile(X[:4], 3)
    alone = [fitted.predict_proba(one[None]) for one in (*short, *long)]
    together = fitted.predict_proba(frames(short) + frames(long))
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_unequal_lengths_and_missing_values():
    X, y = waves(n=60, channels=2)
    rng = np.random.default_rng(0)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[3, 1] = np.nan  # one channel without any value
    ragged = [frame.iloc[: 20 + i % 10] for i, frame in enumerate(frames(X))]
    fitted = small().fit(ragged, y)
    assert fitted.model_.masked
    assert (fitted.predict(waves(n=60, channels=2, seed=1)[0]) == y).mean() > 0.9
    ended = np.concatenate((X[:, :, :20], np.full((60, 2, 5), np.nan)), 2)
    ended[:, :, 19] = X[:, :, 19] = 0.0
    np.testing.assert_allclose(fitted.predict_proba(ended), fitted.predict_proba(X[:, :, :20]), atol=1e-6)


def test_a_refit_forgets():
    X, y = products(n=30)
    once = small().fit(*waves()).fit(X, y)
    assert np.array_equal(once.predict_proba(X), small().fit(X, y).predict_proba(X))


@pytest.mark.parametrize("way", ["pickle", "memory", "file"])
def test_saved_and_loaded(way, tmp_path, with_trunk):
    fitted, X, _ = with_trunk
    if way == "pickle":
        again = pickle.loads(pickle.dumps(fitted))
    else:
        saved = fitted.save() if way == "memory" else fitted.save(tmp_path / "classifier").filename
        again: Any = load(saved if isinstance(saved, tuple) else Path(saved))
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert {p.device.type for p in again.model_.parameters()} == {"cpu"}


def test_nothing_is_written_or_printed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    X, y = products(n=60)
    small().fit(X, y).predict(X)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_early_stopping_ends_the_training(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.optim.AdamW, "step", counted(torch.optim.AdamW.step, seen))
    X, y = products(n=60)
    random_labels = np.random.default_rng(1).permutation(y)
    small(max_epochs=200, patience=2).fit(X, random_labels)
    assert 0 < len(seen) < 100


def counted(step, seen):
    def counting(self, *given, **named):
        seen.append(1)
        return step(self, *given, **named)

    return counting


def test_class_weights_move_the_decision():
    X, y = waves(n=30)
    X += np.random.default_rng(0).normal(size=X.shape)
    few = np.r_[0:30:2, 1:8:2]  # 15 slow, 4 fast
    new, truth = waves(n=100, seed=3)
    new += np.random.default_rng(1).normal(size=new.shape)

    def found(class_weight):
        return (small(class_weight=class_weight).fit(X[few], y[few]).predict(new) == "fast").mean()

    assert found({"fast": 20.0, "slow": 1.0}) > found(None)
    assert found("balanced") >= found(None)
    assert set(truth) == {"fast", "slow"}


def test_one_class_is_predicted_as_sktime_does():
    X, _ = waves(n=4)
    with pytest.warns(UserWarning, match="only single label"):
        fitted = small().fit(X, np.array(["a"] * 4))
    assert list(fitted.predict(X)) == ["a"] * 4


def test_firing_rates_are_shares_of_steps(with_trunk):
    fitted, X, _ = with_trunk
    rates = fitted.firing_rates(X)
    assert {"bank", "front", "backbone.layers.0.neuron", "backbone.layers.0.spatial"} == set(rates)
    assert all(0 <= rate <= 1 for rate in rates.values())
    mixed = [*frames(X[:5]), *frames(np.tile(X[:5], 2))]  # padded: the rates are those of the parts
    parts = [fitted.firing_rates(part)["front"] for part in (mixed[:5], mixed[5:])]
    assert fitted.firing_rates(mixed)["front"] == pytest.approx((parts[0] + 2 * parts[1]) / 3)


def changed(X, value, place=(0, 0, 3)):
    X = X.copy()
    X[place] = value
    return X


def test_bad_input_is_named():
    X, y = waves(n=6)
    fitted = small().fit(X, y)
    cases = [
        (changed(X, np.inf), "expected finite or missing .* infinite one in instance 0"),
        (changed(X, np.nan, 2), "at least one observed value in each instance, got none in instance 2"),
    ]
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            fitted.predict(bad)
        with pytest.raises(ValueError, match=message):
            small().fit(bad, y)
    with pytest.raises(ValueError, match="expected 1 channels in each instance, got 2 in instance 0"):
        fitted.predict(waves(n=6, channels=2)[0])
    with pytest.raises((ValueError, TypeError)):
        small().fit(X[:0], y[:0])
    with pytest.raises(ValueError, match="expected at least one instance, got an empty panel"):
        fitted.model_.predict([], torch.device("cpu"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "expected features of at least 1, got 0"),
        ({"width": 6}, "width: expected a multiple of 4, got 6"),
        ({"validation_fraction": 1.0}, "expected a share between 0 and 1, got 1.0"),
        ({"device": "cuda:99"}, "CUDA devices here, or 'cpu'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options).fit(*waves(n=6))
