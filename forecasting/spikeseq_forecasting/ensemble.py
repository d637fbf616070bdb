"""Several series models of the same series, whose forecasts are averaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .features import Framing
from .series_model import SeriesModel


class View(NamedTuple):
    """What a member forecasts: the residual over a season before or over the last value, of logarithms or of the
    values themselves; with all lags or half as many."""

    seasonal: bool
    log: bool
    far: bool

    def framing(self, whole: Framing) -> Framing:
        """Its own of what the series allow."""
        season = whole.season if self.seasonal else 1
        return replace(whole, season=season, lags=whole.lags if self.far else whole.lags // 2 + 1)


VIEWS = (View(seasonal=False, log=False, far=True), View(seasonal=True, log=True, far=False))


def views(members: int, logs: bool) -> list[View]:
    """Those of VIEWS in turn; without `logs` all are of the values. ValueError for less than one member."""
    if members < 1:
        raise ValueError(f"members: expected at least 1, got {members}")
    chosen = [VIEWS[number % len(VIEWS)] for number in range(members)]
    return [view._replace(log=view.log and logs) for view in chosen]


class Ensemble(nn.Module):
    """Members with parameters of their own, trained in one run on the sum of their losses; `views` are theirs."""

    def __init__(self, members: Iterable[SeriesModel], views: Sequence[View]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.views = tuple(views)

    def __iter__(self) -> Iterator[SeriesModel]:
        return iter(self.members)  # pyright: ignore[reportArgumentType, reportReturnType]

    @property
    def horizon(self) -> int:
        return next(iter(self)).framing.horizon

    @property
    def exogenous(self) -> int:
        return next(iter(self)).exogenous

    def loss(self, batch: Sequence[dict[str, Any]]) -> Tensor:
        """Sum over members of the loss of each one's batch."""
        return torch.stack([member.loss(part) for member, part in zip(self, batch, strict=True)]).sum()
