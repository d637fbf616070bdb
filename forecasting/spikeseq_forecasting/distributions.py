"""What a forecast is: loss, mean and quantiles of the parameters that the network gives.

All in scaled units, y / scale. The network's parameters `raw` [..., parameters] are of a residual, its location the
first of them: `arguments(raw, baseline)` adds the baseline [...] and makes them valid.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Arguments = tuple[Tensor, ...]
QUANTILES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
START = 0.7  # the spread of raw numbers of 0, in units of the scale, as the other families have it
SMALLEST = 1e-4  # of a spread, in units of the scale
MOST_DISPERSED = 50.0  # counts to begin with


class Distribution(ABC):
    """A family of forecast distributions. parameters: numbers the network gives for each of them."""

    parameters: int
    has_quantiles = True

    @abstractmethod
    def arguments(self, raw: Tensor, baseline: Tensor) -> Arguments:
        """raw [..., parameters] and baseline [...] -> valid arguments in scaled units."""

    def start(self, error: Tensor, dispersion: Tensor) -> Tensor:  # noqa: ARG002
        """raw [..., parameters] to begin training with, of the mean absolute error to expect, scaled, and, of counts,
        the dispersion (variance - mean) / mean^2, both [...].

        The location's is 0; so are all, where a family has no such spread.
        """
        return torch.zeros(*error.shape, self.parameters, dtype=error.dtype, device=error.device)

    @abstractmethod
    def loss(self, arguments: Arguments, target: Tensor, scale: Tensor) -> Tensor:
        """Loss of each target [...], scaled; `scale` [...] is what it was divided by."""

    @abstractmethod
    def mean(self, arguments: Arguments) -> Tensor:
        """The point forecast [...], scaled."""

    @abstractmethod
    def quantiles(self, arguments: Arguments, levels: Sequence[float], scale: Tensor) -> Tensor:
        """[..., levels], scaled; levels inside (0, 1)."""


@dataclass(frozen=True)
class Point(Distribution):
    """Squared error of one number; no quantiles."""

    parameters: int = 1
    has_quantiles = False

    def arguments(self, raw: Tensor, baseline: Tensor) -> Arguments:
        return (baseline + raw[..., 0],)

    def loss(self, arguments: Arguments, target: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG002
        return (target - arguments[0]).square()

    def mean(self, arguments: Arguments) -> Tensor:
        return arguments[0]

    def quantiles(self, arguments: Arguments, levels: Sequence[float], scale: Tensor) -> Tensor:
        raise NotImplementedError(
            "a point forecast has no quantiles: expected distribution 'student_t', 'quantile' or "
            "'negative_binomial', got 'point'"
        )


@dataclass(frozen=True)
class StudentT(Distribution):
    """Student's t: location, spread > 0, degrees of freedom > 2; the loss is its negative log-likelihood."""

    parameters: int = 3

    def arguments(self, raw: Tensor, baseline: Tensor) -> Arguments:
        location, spread, freedom = raw.unbind(-1)
        return baseline + location, F.softplus(spread) + SMALLEST, 2.1 + F.softplus(freedom + 2)

    def start(self, error: Tensor, dispersion: Tensor) -> Tensor:
        raw = super().start(error, dispersion)
        raw[..., 1] = _inverse_softplus(error)  # the freedom begun with makes it .99 of the spread
        return raw

    def loss(self, arguments: Arguments, target: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG002
        location, spread, freedom = arguments
        z = (target - location) / spread
        constant = torch.lgamma((freedom + 1) / 2) - torch.lgamma(freedom / 2) - 0.5 * torch.log(torch.pi * freedom)
        return torch.log(spread) - constant + (freedom + 1) / 2 * torch.log1p(z.square() / freedom)

    def mean(self, arguments: Arguments) -> Tensor:
        return arguments[0]

    def quantiles(self, arguments: Arguments, levels: Sequence[float], scale: Tensor) -> Tensor:  # noqa: ARG002
        from scipy.stats import t  # torch has no inverse of Student's t

        location, spread, freedom = (a.detach().cpu().double()[..., None].numpy() for a in arguments)
        return torch.from_numpy(t.ppf(list(levels), freedom, location, spread)).to(arguments[0])


@dataclass(frozen=True)
class Quantiles(Distribution):
    """A value for each of `levels`, by pinball loss; never crossing, as each is the one below plus a positive step.

    Levels between are interpolated, levels outside take the outermost step on.
    """

    levels: tuple[float, ...] = QUANTILES

    @property
    def parameters(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.levels)

    def arguments(self, raw: Tensor, baseline: Tensor) -> Arguments:
        middle = len(self.levels) // 2
        # the steps begin as those of a normal distribution
        steps = F.softplus(raw[..., 1:] + _inverse_softplus(START * self._gaps(raw)))
        below = -steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
        above = steps[..., middle:].cumsum(-1)
        centre = (baseline + raw[..., 0])[..., None]
        return (torch.cat((centre + below, centre, centre + above), dim=-1),)

    def start(self, error: Tensor, dispersion: Tensor) -> Tensor:
        raw, gaps = super().start(error, dispersion), self._gaps(error)
        deviation = error[..., None] * math.sqrt(math.pi / 2)  # of a normal distribution
        raw[..., 1:] = _inverse_softplus(deviation * gaps) - _inverse_softplus(START * gaps)
        return raw

    def _gaps(self, like: Tensor) -> Tensor:
        """Between the levels' quantiles of a standard normal distribution."""
        return torch.special.ndtri(torch.tensor(self.levels, dtype=like.dtype, device=like.device)).diff()

    def loss(self, arguments: Arguments, target: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG002
        error = target[..., None] - arguments[0]
        levels = torch.tensor(self.levels, dtype=error.dtype, device=error.device)
        return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)

    def mean(self, arguments: Arguments) -> Tensor:
        """The median: what the pinball loss fits at the middle level."""
        return arguments[0][..., len(self.levels) // 2]

    def quantiles(self, arguments: Arguments, levels: Sequence[float], scale: Tensor) -> Tensor:  # noqa: ARG002
        values = arguments[0]
        known = torch.tensor(self.levels, dtype=values.dtype, device=values.device)
        wanted = torch.tensor(list(levels), dtype=values.dtype, device=values.device)
        right = torch.searchsorted(known, wanted).clamp(1, len(self.levels) - 1)
        part = (wanted - known[right - 1]) / (known[right] - known[right - 1])
        return torch.lerp(values[..., right - 1], values[..., right], part)


@dataclass(frozen=True)
class NegativeBinomial(Distribution):
    """Counts: mean m > 0 and dispersion a > 0, variance m + a m^2, in the unscaled units of the data."""

    parameters: int = 2

    def arguments(self, raw: Tensor, baseline: Tensor) -> Arguments:
        return F.softplus(baseline + raw[..., 0], beta=4) + SMALLEST, F.softplus(raw[..., 1]) + SMALLEST

    def start(self, error: Tensor, dispersion: Tensor) -> Tensor:
        raw = super().start(error, dispersion)
        raw[..., 1] = _inverse_softplus(dispersion.clamp(2 * SMALLEST, MOST_DISPERSED) - SMALLEST)
        return raw

    def loss(self, arguments: Arguments, target: Tensor, scale: Tensor) -> Tensor:
        mean, dispersion = arguments[0] * scale, arguments[1]
        count, size = target * scale, 1 / dispersion
        constant = torch.lgamma(count + size) - torch.lgamma(size) - torch.lgamma(count + 1)
        return (count + size) * torch.log1p(dispersion * mean) - count * torch.log(dispersion * mean) - constant

    def mean(self, arguments: Arguments) -> Tensor:
        return arguments[0]

    def quantiles(self, arguments: Arguments, levels: Sequence[float], scale: Tensor) -> Tensor:
        from scipy.stats import nbinom  # torch has no inverse of it

        mean, dispersion, unit = (
            a.detach().cpu().double()[..., None].numpy() for a in torch.broadcast_tensors(*arguments, scale)
        )
        size = 1 / dispersion
        counts = nbinom.ppf(list(levels), size, size / (size + mean * unit))
        return torch.from_numpy(counts / unit).to(arguments[0])


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "student_t": StudentT,
    "quantile": Quantiles,
    "negative_binomial": NegativeBinomial,
    "point": Point,
}


def make_distribution(name: str | Distribution) -> Distribution:
    """A distribution by name, or as it is. ValueError for an unknown name."""
    if isinstance(name, Distribution):
        return name
    if name not in DISTRIBUTIONS:
        raise ValueError(f"distribution: expected one of {', '.join(DISTRIBUTIONS)}, got {name!r}")
    return DISTRIBUTIONS[name]()


def _inverse_softplus(value: Tensor) -> Tensor:
    return torch.log(torch.expm1(value))


def masked_mean(loss: Tensor, observed: Tensor) -> Tensor:
    """Mean of `loss` where `observed`; 0 where nothing was. Missing targets must be finite (fill them first)."""
    return torch.where(observed, loss, 0).sum() / observed.sum().clamp(min=1)
