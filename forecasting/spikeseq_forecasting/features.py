"""From values to what the network sees and back: windows, scale, baseline, lags. Causal pure functions.

Everything at step t is a function of the last `window` values up to t, `[..., window]`, oldest first. So one code
serves a whole series (all windows at once, without a copy) and a stream (the last window, carried along).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def fill_forward(values: Tensor, before: Tensor | None = None) -> Tensor:
    """values [batch, time], NaN as the last value seen; before the first one `before` [batch], or that first one."""
    seen = ~values.isnan()
    step = torch.arange(values.shape[1], device=values.device)
    last = torch.where(seen, step, -1).cummax(1).values
    filled = values.nan_to_num(0.0).gather(1, last.clamp(min=0))
    before = first_observed(values) if before is None else before
    return torch.where(last < 0, before[:, None], filled)


def fill_season(values: Tensor, season: int) -> Tensor:
    """values [batch, time] with NaN as the value a season before, filled likewise; NaN where no season has one yet."""
    batch, time = values.shape
    padded = torch.nn.functional.pad(values, (0, -time % season), value=torch.nan)
    phases = padded.unflatten(1, (-1, season)).transpose(1, 2).flatten(0, 1)  # [batch * season, seasons]
    filled = fill_forward(phases, torch.full_like(phases[:, 0], torch.nan))
    return filled.unflatten(0, (batch, season)).transpose(1, 2).flatten(1)[:, :time]


def first_observed(values: Tensor) -> Tensor:
    """The first value of each row that is not NaN, 0 where there is none: [batch, time] -> [batch]."""
    first = (~values.isnan()).int().argmax(1, keepdim=True)
    return values.nan_to_num(0.0).gather(1, first).squeeze(1)


def slope(window: Tensor, start: Tensor, age: Tensor, season: int) -> Tensor:
    """Mean change a step over all that was seen, [...]: the mean of the last season's values less the first season's.

    window [..., window], start [...] the first season's mean, age [...] steps seen. Over less than two seasons it is
    shrunk towards 0, and 0 within the first.
    """
    ahead = (age - season).clamp(min=0)
    rise = window[..., -season:].mean(-1) - start
    return torch.where(ahead > 0, rise / ahead.clamp(min=season), 0.0)


@dataclass(frozen=True)
class Framing:
    """How a series is seen: season m, the largest lag and the horizon, all in steps; whether the baseline drifts.

    baseline_{t+h} = y_{t+h-km} + drift * km * slope_t,  k = ceil(h / m)       m = 1: the last value
    """

    horizon: int
    season: int = 1
    lags: int = 1
    drift: bool = True

    @property
    def window(self) -> int:
        """Values that one step looks at."""
        return max(self.season, self.lags) + 1

    @property
    def inputs(self) -> int:
        """Numbers a step that `inputs_of` gives."""
        return self.lags + 3

    def scale_of(self, window: Tensor, floor: Tensor) -> Tensor:
        """Standard deviation within the window, at least `floor` [...]: [..., window] -> [...]."""
        return torch.maximum(window.std(-1, correction=0), floor)

    def baseline_of(self, window: Tensor, slope: Tensor) -> Tensor:
        """[..., window], slope [...] -> [..., horizon], in the units of the values."""
        ahead = torch.arange(1, self.horizon + 1, device=window.device)
        back = -(-ahead // self.season) * self.season
        value = window[..., self.window - 1 + ahead - back]
        return value + slope[..., None] * back if self.drift else value

    def inputs_of(self, window: Tensor, slope: Tensor, scale: Tensor, observed: Tensor) -> Tensor:
        """[..., inputs]: lags from the present value, change over a season, slope a season, whether it was observed."""
        last = window[..., -1:]
        lagged = window[..., -1 - self.lags : -1] - last
        change = last - window[..., -self.season - 1, None]
        scaled = torch.cat((lagged, change, self.season * slope[..., None]), dim=-1) / scale[..., None]
        return torch.cat((scaled, observed[..., None].to(scaled)), dim=-1)
