"""What a forecast looks like, the spikes that made it, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from spikeseq import plots
from spikeseq.energy import EnergyReport
from spikeseq.energy import energy as count
from spikeseq.neurons import Neuron

from . import axis, frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .forecaster import SpikingForecaster

STEPS = 120  # of the past in a figure, unless said
SIDES = ("lower", "upper")


def forecast(
    forecaster: SpikingForecaster,
    y: pd.Series | pd.DataFrame,
    X: pd.DataFrame | None = None,
    coverage: tuple[float, ...] = (0.5, 0.9),
    row: int = 0,
    steps: int = STEPS,
) -> Figure:
    """The end of one series, its forecast with intervals, and below it the spikes of each layer on the same steps.

    y, X: what the forecaster has seen, from the beginning; X also over the horizon. row: which series, columns first.
    """
    frame = pd.DataFrame(y)
    layers = {name: layer[row, -steps:] for name, layer in spikes_of(forecaster, frame, X).items()}
    figure = plots.raster(layers)
    rasters = list(figure.axes)
    grid = figure.add_gridspec(len(rasters) + 1, 1)
    for place, raster in enumerate(rasters, start=1):
        raster.set_subplotspec(grid[place])
    figure.set_figheight(figure.get_figheight() + 2.2)
    top = figure.add_subplot(grid[0], sharex=rasters[0])
    seen = _row(forecaster, frame, row, axis.whole(frames.times_of(frame), forecaster.data_.freq))[-steps:]
    ahead = len(seen) - 1 + forecaster.fh.to_relative(forecaster.cutoff).to_numpy()
    top.plot(np.arange(len(seen)), seen, color=plots.GREY, linewidth=1.1, label="seen")
    top.plot(ahead, _row(forecaster, pd.DataFrame(forecaster.predict(X=X)), row), color=plots.BLUE, label="forecast")
    if forecaster.get_tag("capability:pred_int"):
        bounds = pd.DataFrame(forecaster.predict_interval(X=X, coverage=list(coverage)))  # pyright: ignore[reportArgumentType]
        for part in coverage:
            low, high = (_row(forecaster, bounds.loc[:, (slice(None), part, side)], row) for side in SIDES)
            top.fill_between(ahead, low, high, color=plots.BLUE, alpha=0.15, linewidth=0, label=f"{part:.0%}")
    top.set_xlim(-0.5, ahead[-1] + 0.5)
    top.tick_params(labelsize=8)
    top.spines[["top", "right"]].set_visible(False)
    top.legend(frameon=False, fontsize=8, ncols=4)
    return figure


def _row(forecaster: SpikingForecaster, frame: pd.DataFrame, row: int, times: pd.Index | None = None) -> np.ndarray:
    """One series of a frame, counted as the network's rows are, at `times`, by default those of its rows."""
    times = frames.times_of(frame) if times is None else times
    values = frames.to_array(frame, times, forecaster.data_.instances)
    return values.reshape(-1, values.shape[-1])[row]


def spikes_of(forecaster: SpikingForecaster, y: pd.DataFrame, X: pd.DataFrame | None = None) -> dict[str, Tensor]:
    """The spikes of each layer of neurons on a history from its beginning: name -> [rows, time, width].

    All members of the ensemble, in order.
    """
    found = dict[str, Tensor]()

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Any]) -> None:
            found[name] = output[0]

        return hook

    neurons = [(name, module) for name, module in forecaster.model_.named_modules() if isinstance(module, Neuron)]
    hooks = [module.register_forward_hook(keep(name)) for name, module in neurons]
    try:
        with torch.no_grad():
            for member, (_, seen, x) in zip(forecaster.model_, forecaster.look(y, X), strict=True):
                member.network.encode(x, starts=seen.age == 1)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def energy(
    forecaster: SpikingForecaster, y: pd.Series | pd.DataFrame, X: pd.DataFrame | None = None
) -> tuple[float, EnergyReport]:
    """Joule of one forecast, that is one step of one series, and the count for a series of all steps of `y`.

    By `spikeseq.energy`, at 45 nm, of all members' networks on this history; features and quantiles are not counted.
    """
    inputs, known = [], []
    for member, (block, _, x) in zip(forecaster.model_, forecaster.look(pd.DataFrame(y), X), strict=True):
        inputs.append(x)
        steps = torch.arange(x.shape[1]).expand(len(x), -1)
        known.append(member.known(steps, block.calendar, block.exogenous))
    networks = [member.network for member in forecaster.model_]
    report = count(_Known(networks, known, [x.shape[-1] for x in inputs]), torch.cat(inputs, -1))
    return report.full_joule / report.steps, report


class _Known(nn.Module):
    """The networks with what they know ahead, as a module of one input: theirs side by side."""

    def __init__(self, networks: Sequence[nn.Module], known: list[Tensor | None], inputs: list[int]) -> None:
        super().__init__()
        self.networks, self.known, self.inputs = nn.ModuleList(networks), known, inputs

    def forward(self, x: Tensor) -> Tensor:
        inputs = x.split(self.inputs, -1)
        parts = zip(self.networks, inputs, self.known, strict=True)
        return torch.stack([network(own, known=known)[0] for network, own, known in parts])
