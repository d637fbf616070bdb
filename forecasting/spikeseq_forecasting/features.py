"""From values to what the network sees and back: windows, scale, baseline, lags. Causal pure functions.

Everything at step t is a function of the last `window` values up to t, `[..., window]`, oldest first. So one code
serves a whole series (all windows at once, without a copy) and a stream (the last window, carried along).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BASELINES = ("last", "seasonal", "drift", "seasonal_drift")


def fill_forward(values: Tensor, before: Tensor | None = None) -> Tensor:
    """values [batch, time] with NaN as the last value seen; before the first one, `before` [batch] or that first one."""
    seen = ~values.isnan()
    step = torch.arange(values.shape[1], device=values.device)
    last = torch.where(seen, step, -1).cummax(1).values
    filled = values.nan_to_num(0.0).gather(1, last.clamp(min=0))
    if before is None:
        before = values.nan_to_num(0.0).gather(1, seen.int().argmax(1, keepdim=True)).squeeze(1)
    return torch.where(last < 0, before[:, None], filled)


def windows(values: Tensor, size: int, before: Tensor | None = None) -> Tensor:
    """values [batch, time] -> a view [batch, time, size]: at t the last `size` values up to t, oldest first.

    before: the window [batch, size] carried from earlier values; None repeats the first value.
    """
    head = values[:, :1].expand(-1, size - 1) if before is None else before[:, 1:]
    return torch.cat((head, values), dim=1).unfold(1, size, 1)


def future(values: Tensor, horizon: int) -> Tensor:
    """values [batch, time, ...] -> a view [batch, time - horizon, horizon, ...]: at t the values t + 1..t + horizon."""
    moved = values[:, 1:].unfold(1, horizon, 1)
    return moved.movedim(-1, 2)


def baseline_matrix(kind: str, horizon: int, season: int, window: int) -> Tensor:
    """The baseline as a map of the window: [window, horizon], float32; every column sums to 1.

        last             y_t
        seasonal         y_{t+h-km}, k = ceil(h / m): the same phase, last time seen
        drift            y_t + h (y_t - y_{t-window+1}) / (window - 1)
        seasonal_drift   seasonal + k * (mean of the last m values - mean of the m before)
    """
    if kind not in BASELINES:
        raise ValueError(f"baseline: expected one of {', '.join(BASELINES)}, got {kind!r}")
    needed = {"last": 1, "seasonal": season, "drift": 2, "seasonal_drift": 2 * season}[kind]
    if window < needed:
        raise ValueError(f"baseline {kind!r} with season {season}: expected a window of {needed}, got {window}")
    matrix = torch.zeros(window, horizon)
    ahead = torch.arange(1, horizon + 1)
    if kind.startswith("seasonal"):
        seasons = -(-ahead // season)
        matrix[window - 1 + ahead - seasons * season, ahead - 1] = 1.0
        if kind == "seasonal_drift":
            matrix[window - season :] += seasons / season
            matrix[window - 2 * season : window - season] -= seasons / season
    else:
        matrix[-1] = 1.0
        if kind == "drift":
            matrix[-1] += ahead / (window - 1)
            matrix[0] -= ahead / (window - 1)
    return matrix


@dataclass(frozen=True)
class Framing:
    """How a series is seen: window in steps, season m in steps, lags that become inputs, the baseline's kind."""

    window: int
    season: int
    lags: int
    horizon: int
    baseline: str = "seasonal_drift"

    @property
    def inputs(self) -> int:
        """Numbers a step that `inputs_of` gives."""
        return self.lags + 2

    def scale_of(self, window: Tensor, floor: Tensor) -> Tensor:
        """Standard deviation within the window, at least `floor` [...]: [..., window] -> [...]."""
        return torch.maximum(window.std(-1, correction=0), floor)

    def baseline_of(self, window: Tensor) -> Tensor:
        """[..., window] -> [..., horizon], in the units of the values; sums about the last value, so none is lost."""
        last = window[..., -1:]
        matrix = baseline_matrix(self.baseline, self.horizon, self.season, self.window).to(window)
        return last + (window - last) @ matrix

    def inputs_of(self, window: Tensor, scale: Tensor, observed: Tensor) -> Tensor:
        """Inputs [..., inputs]: lags relative to the present value, change over a season, whether it was observed."""
        last = window[..., -1:]
        lagged = (window[..., -1 - self.lags : -1] - last) / scale[..., None]
        change = (last - window[..., -self.season - 1, None]) / scale[..., None]
        return torch.cat((lagged, change, observed[..., None].to(window)), dim=-1)
