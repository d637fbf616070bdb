"""Figures of forecasts and their energy."""

from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from spikeseq_forecasting import SpikingForecaster, plots

Y = pd.Series(np.random.default_rng(0).normal(size=60), pd.period_range("2000-01", periods=60, freq="M"), name="y")
X = pd.DataFrame({"x": np.arange(63.0)}, pd.period_range("2000-01", periods=63, freq="M"))


@pytest.fixture(scope="module")
def forecaster():
    options = {"max_epochs": 2, "width": 8, "depth": 2, "device": "cpu", "random_state": 0}
    return SpikingForecaster(**options).fit(Y, X=X.iloc[:60], fh=[1, 2, 3])


def test_spikes_are_spikes_of_every_layer(forecaster):
    spikes = plots.spikes_of(forecaster, Y.to_frame(), X.iloc[:60])
    assert [layer.shape for layer in spikes.values()] == [(1, 60, 8)] * 2 * forecaster.members
    assert all(bool(((layer == 0) | (layer == 1)).all()) for layer in spikes.values())
    assert not any(module._forward_hooks for module in forecaster.model_.modules())


def test_figure_shows_forecast_intervals_and_spikes_on_one_axis(forecaster):
    figure = plots.forecast(forecaster, Y, X, steps=40)
    *rasters, top = (cast(Any, axis) for axis in figure.axes)
    assert len(rasters) == 2 * forecaster.members
    seen, forecast = (line.get_xydata() for line in top.lines)
    assert np.allclose(seen[:, 1], Y[-40:])
    assert forecast[:, 0].tolist() == [40, 41, 42]
    assert np.allclose(forecast[:, 1], forecaster.predict(X=X))
    assert len(top.collections) == 2
    assert top.get_xlim() == rasters[0].get_xlim()
    raster = rasters[0].collections[0].get_offsets()
    assert len(raster) == int(
        next(iter(plots.spikes_of(forecaster, Y.to_frame(), X.iloc[:60]).values()))[0, -40:].sum()
    )


def test_energy_of_a_forecast_counts_the_spikes_that_there_were(forecaster):
    joule, report = plots.energy(forecaster, Y, X.iloc[:60])
    spikes = plots.spikes_of(forecaster, Y.to_frame(), X.iloc[:60])
    rates = [layer.mean().item() for layer in spikes.values()]
    measured = [rate for name, rate in report.firing_rates.items() if name.endswith("neuron")]
    assert np.allclose(rates, measured)
    assert joule == report.full_joule / 60
    dense = 4.6e-12 * sum(p.numel() for p in forecaster.model_.parameters() if p.ndim == 2)
    assert 0 < joule < 3 * dense
    assert torch.is_grad_enabled()
