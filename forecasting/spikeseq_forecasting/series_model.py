"""The network on series: what it sees, how it is streamed, and what it is trained on. Pure torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .distributions import Arguments, masked_mean
from .features import Framing, fill_season, first_observed, slope
from .network import ForecastNetwork

FLOOR = 0.1  # of a step's scale, in standard deviations of the series


class Memory(NamedTuple):
    """All that the past of [batch] series leaves behind; its size does not depend on how long that past is.

    neurons: the network's state; window [batch, window]: the last values, filled; first [batch]: sum of the first
    season's values; age [batch]: steps since the first observed one; exogenous [batch, season, exogenous]: the last
    rows; z, x: what the head reads at the last step.
    """

    neurons: Any
    window: Tensor
    first: Tensor
    age: Tensor
    exogenous: Tensor
    z: Tensor
    x: Tensor


class Seen(NamedTuple):
    """What each step knows of the values up to it: [batch, time, ...]; `window` is a view."""

    window: Tensor
    slope: Tensor
    observed: Tensor
    age: Tensor
    first: Tensor

    def at(self, rows: Tensor, steps: Tensor) -> Seen:
        return Seen(*(part[rows[:, None], steps] for part in self))


class SeriesModel(nn.Module):
    """Series [batch, time], NaN where missing, to the parameters of distributions of their next values.

    calendar, exogenous: numbers a step that are known ahead, such as the phase of the week and a temperature. The
    head sees both at the time it forecasts, exogenous ones also less those of the baseline's step. Steps before a
    series' first observed value are as if they were not there; later missing ones are as a season before. Values are
    expected in units of the series (about 1). `options` are ForecastNetwork's.
    """

    def __init__(self, framing: Framing, calendar: int = 0, exogenous: int = 0, **options: Any) -> None:
        super().__init__()
        self.framing, self.calendar, self.exogenous = framing, calendar, exogenous
        inputs = framing.inputs + calendar + exogenous
        self.network = ForecastNetwork(inputs, framing.horizon, known=calendar + 2 * exogenous, **options)

    def look(self, values: Tensor, memory: Memory | None = None) -> Seen:
        """The causal features of all steps, without the network."""
        season, size = self.framing.season, self.framing.window
        observed = ~values.isnan()
        before = torch.zeros_like(values[:, 0], dtype=torch.long) if memory is None else memory.age
        age = before[:, None] + (observed | (before > 0)[:, None]).cummax(1).values.long().cumsum(1)
        start = first_observed(values)[:, None].expand(-1, size)
        past = start if memory is None else torch.where((before > 0)[:, None], memory.window, start)
        filled = fill_season(torch.cat((past, values), 1), season)
        first = torch.where((age > 0) & (age <= season), filled[:, size:], 0.0).cumsum(1)
        if memory is not None:
            first = first + memory.first[:, None]
        window = filled.unfold(1, size, 1)[:, 1:]
        return Seen(window, slope(window, first / age.clamp(1, season), age, season), observed, age, first)

    def inputs(self, seen: Seen, calendar: Tensor, exogenous: Tensor) -> Tensor:
        """What the network reads, [batch, time, inputs]."""
        features = self.framing.inputs_of(seen.window, seen.slope, self.scale(seen), seen.observed)
        return torch.cat((features, calendar, exogenous), -1)

    def scale(self, seen: Seen) -> Tensor:
        return self.framing.scale_of(seen.window, torch.full((), FLOOR).to(seen.window))

    def arguments(self, raw: Tensor, seen: Seen) -> tuple[Arguments, Tensor]:
        """The distribution's arguments in units of the step's scale, and that scale [..., 1]."""
        scale = self.scale(seen)[..., None]
        baseline = self.framing.baseline_of(seen.window, seen.slope) / scale
        return self.network.distribution.arguments(raw[..., 0, :], baseline), scale

    def known(self, steps: Tensor, calendar: Tensor, exogenous: Tensor, rows: Tensor | None = None) -> Tensor | None:
        """What the head knows at `steps` [batch, steps] of the `horizon` steps that follow each, or None.

        rows [batch]: the series of each row of `steps`, where they are not the series in order.
        """
        if not self.calendar + self.exogenous:
            return None
        ahead = torch.arange(1, self.framing.horizon + 1, device=steps.device)
        back = -(-ahead // self.framing.season) * self.framing.season
        rows = torch.arange(len(steps), device=steps.device) if rows is None else rows
        rows = rows[:, None, None]
        then = steps[..., None] + ahead
        change = exogenous[rows, then] - exogenous[rows, (then - back).clamp(min=0)]
        return torch.cat((calendar[rows, then], exogenous[rows, then], change), -1)

    def advance(self, values: Tensor, calendar: Tensor, exogenous: Tensor, memory: Memory | None = None) -> Memory:
        """Read values [batch, time], calendar [batch, time, calendar], exogenous [batch, time, exogenous]."""
        seen = self.look(values, memory)
        x = self.inputs(seen, calendar, exogenous)
        z, neurons = self.network.encode(x, None if memory is None else memory.neurons, starts=seen.age == 1)
        tail = torch.zeros_like(x[:, :1, : self.exogenous]).expand(-1, self.framing.season, -1)
        tail = torch.cat((tail if memory is None else memory.exogenous, exogenous), 1)[:, -self.framing.season :]
        window, first = seen.window[:, -1].clone(), seen.first[:, -1].clone()  # not views of the whole past
        return Memory(neurons, window, first, seen.age[:, -1].clone(), tail.clone(), z[:, -1].clone(), x[:, -1].clone())

    def forecast(self, memory: Memory, calendar: Tensor, exogenous: Tensor) -> tuple[Arguments, Tensor]:
        """Arguments [batch, horizon] and scale [batch, 1]. calendar, exogenous: of the `horizon` steps that follow."""
        season = self.framing.season
        steps = torch.full((len(memory.age), 1), season - 1, device=memory.age.device)
        padded = nn.functional.pad(calendar, (0, 0, season, 0))
        known = self.known(steps, padded, torch.cat((memory.exogenous, exogenous), 1))
        raw = self.network.head(memory.z, memory.x, None if known is None else known[:, 0])
        first = memory.first / memory.age.clamp(1, season)
        rise = slope(memory.window, first, memory.age, season)
        observed = memory.age > 0
        return self.arguments(raw, Seen(memory.window, rise, observed, memory.age, memory.first))

    def loss(self, batch: dict[str, Any]) -> Tensor:
        """Mean loss over the observed targets of a batch of `Crops`."""
        z, _ = self.network.encode(batch["x"], starts=batch["starts"])
        chosen = batch["chosen"]
        raw = self.network.head(z[:, chosen], batch["x"][:, chosen], batch["known"])
        arguments, scale = self.arguments(raw, Seen(*batch["seen"]))
        unit = scale * batch["unit"][:, None, None]
        losses = self.network.distribution.loss(arguments, batch["target"] / scale, unit.expand_as(batch["target"]))
        return masked_mean(losses, batch["wanted"])
