"""The forecaster streams: what it reads bit by bit, what it keeps, what it was given to go on from."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils import _pytree as pytree

from spikeseq_forecasting import SpikingForecaster
from spikeseq_forecasting.axis import whole
from spikeseq_forecasting.frames import times_of
from spikeseq_forecasting.series_model import SeriesModel

from .examples import FH, TINY, fitted, panel, series


def recomputed(forecaster, y):
    """The forecast of the same weights that read a longer history from its beginning."""
    frame = pd.DataFrame(y)
    forecaster._set_cutoff_from_y(frame)
    times = whole(times_of(frame), forecaster.data_.freq)
    forecaster._read(forecaster.data_.read(frame, None, times, forecaster.cycles_), None)
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


def test_rolling_forecasts_are_those_of_the_stream():
    y = series(70)
    forecaster = fitted(y[:60], max_epochs=20)
    rolled = forecaster.predict_rolling(y, [60, 65, 70])
    assert np.allclose(rolled[0, :, 0], forecaster.predict(), rtol=1e-5)
    assert np.allclose(rolled[1, :, 0], forecaster.update(y[60:65], update_params=False).predict(), rtol=1e-5)
    assert np.allclose(rolled[2, :, 0], forecaster.update(y[65:], update_params=False).predict(), rtol=1e-5)
