"""A bank of fixed convolutions whose outputs fire spikes: firing rates as features of a series."""

from __future__ import annotations

import itertools
import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeseq.blocks import Padding

LENGTH = 9
TAPS = tuple(itertools.combinations(range(LENGTH), 3))  # 84 kernels
ROWS = 16  # training series that the thresholds of one row of the plan are taken from
STEPS_AT_ONCE = 1 << 15  # bounds the memory: 84 numbers a step


class ConvolutionBank(nn.Module):
    """Firing rates of spiking neurons behind fixed convolutions: series [batch, time, channels] -> [batch, features].

        z[t]    = sum over channels of sign_c * v_c[t]             v: the series, or its first differences
        u_k[t]  = sum_i w_k[i] z[t + (i - 4) d]                    84 kernels of length 9: weights -1, and three 2
        rate    = mean over valid steps of H(u_k[t] - threshold)

    for dilations d from 1 to an eighth of the length, several thresholds each, taken as quantiles of u over training
    series. The neurons have no memory and their weights are small integers, so a rate takes additions and comparisons
    alone; it does not depend on padding, batch or device. Levels too: rates of H(v_c[t] - threshold) at `levels`
    quantiles of each channel. Multivariate series are mixed with random signs over random channels.

    `fit` sets dilations, mixtures and thresholds from data, drawing from torch's global generator. Source of kernels,
    dilations and of rates as features ("proportion of positive values"): MiniRocket, arXiv 2012.08791; differences as
    a second view: MultiRocket, arXiv 2102.00457.
    """

    signs: Tensor
    thresholds: Tensor
    level_thresholds: Tensor
    taps: Tensor

    def __init__(self, features: int = 10_000, max_dilations: int = 32, levels: int = 32) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"ConvolutionBank: expected features of at least 1, got {features}")
        self.features, self.max_dilations, self.levels = features, max_dilations, levels
        self.plan: list[tuple[int, int]] = []  # (view, dilation) of each row of `signs` and `thresholds`
        self.register_buffer("taps", torch.tensor(TAPS).T.contiguous(), persistent=False)
        for name in ("signs", "thresholds", "level_thresholds"):
            self.register_buffer(name, torch.zeros(0))

    @property
    def width(self) -> int:
        """How many rates there are, about `features`."""
        return self.thresholds.numel() + self.level_thresholds.numel()

    @torch.no_grad()
    def fit(self, x: Tensor, lengths: Tensor) -> ConvolutionBank:
        """x: [instances, time, channels], zero at padded steps; lengths: [instances]."""
        time, channels = x.shape[1:]
        budget = max(1, self.features // (2 * len(TAPS)))  # thresholds a kernel and view
        top = math.log2(max(1.0, (time - 1) / (LENGTH - 1)))
        exponents = torch.linspace(0, top, min(budget, self.max_dilations)).tolist()
        dilations = sorted({int(2**e) for e in exponents})
        mixtures = 1 if channels == 1 else max(1, math.ceil(budget / len(dilations) / 4))
        count = max(1, budget // (len(dilations) * mixtures))
        views = _views(x, lengths)
        self.plan = [(view, d) for view in range(len(views)) for d in dilations for _ in range(mixtures)]
        self.signs = torch.stack([_random_signs(channels) for _ in self.plan])
        # positions between 0 and 1, spread evenly however many there are
        positions = torch.arange(1, len(TAPS) * count + 1) * ((math.sqrt(5) - 1) / 2) % 1
        positions = positions.view(len(TAPS), count)
        found = []
        for (view, dilation), signs in zip(self.plan, self.signs, strict=True):
            rows = torch.randint(len(x), (ROWS,))
            membranes = self._membranes(views[view][rows], signs, dilation)
            ends = lengths[rows].tolist()
            seen = [membranes[k % ROWS, : ends[k % ROWS], k] for k in range(len(TAPS))]
            found.append(torch.stack([torch.quantile(u, at) for u, at in zip(seen, positions, strict=True)]))
        self.thresholds = torch.stack(found).transpose(1, 2).contiguous()  # [plan, count, 84]
        valid = Padding(lengths, time).mask
        steps = torch.randint(int(valid.sum()), (10_000,))
        levels = max(1, min(self.levels, self.features // (8 * channels)))
        at = (torch.arange(levels) + 0.5) / levels
        self.level_thresholds = torch.stack([torch.quantile(view[valid][steps], at, dim=0) for view in views])
        return self

    @torch.no_grad()
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: [batch, time, channels], zero at padded steps; lengths: [batch]. Gives rates in 0..1, [batch, width]."""
        size = max(1, STEPS_AT_ONCE // x.shape[1])
        return torch.cat([self._rates(*part) for part in zip(x.split(size), lengths.split(size), strict=True)])

    def _rates(self, x: Tensor, lengths: Tensor) -> Tensor:
        views = _views(x, lengths)
        valid = Padding(lengths, x.shape[1]).mask[..., None]
        counts = []
        for (view, dilation), signs, thresholds in zip(self.plan, self.signs, self.thresholds, strict=True):
            membranes = self._membranes(views[view], signs, dilation).masked_fill_(~valid, -torch.inf)
            counts += [(membranes >= threshold).sum(1) for threshold in thresholds]
        for view, thresholds in zip(views, self.level_thresholds, strict=True):
            membranes = view.masked_fill(~valid, -torch.inf)
            counts += [(membranes >= threshold).sum(1) for threshold in thresholds]
        return torch.cat(counts, 1) / lengths[:, None]

    def _membranes(self, view: Tensor, signs: Tensor, dilation: int) -> Tensor:
        """u: [batch, time, 84]. Sums in one fixed order, so that no backend's convolution can round them otherwise."""
        reach = dilation * (LENGTH // 2)
        z = reduce(torch.add, [view[..., c] * signs[c] for c in signs.nonzero().flatten().tolist()])
        time, z = z.shape[1], F.pad(z, (reach, reach))
        shifted = [z[:, i * dilation : i * dilation + time] for i in range(LENGTH)]
        total = reduce(torch.add, shifted)
        stacked = torch.stack(shifted, -1)
        first, second, third = (stacked[..., taps] for taps in self.taps)
        return (first + second + third).mul_(3.0).sub_(total[..., None])


def differences(x: Tensor, lengths: Tensor) -> Tensor:
    """x[t] - x[t - 1] along time; 0 at the first step and at padded ones. x: [batch, time, channels]."""
    steps = torch.cat((torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]), 1)
    return steps.masked_fill(~Padding(lengths, x.shape[1]).mask[..., None], 0.0)


def _views(x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    return x, differences(x, lengths)


def _random_signs(channels: int) -> Tensor:
    """+-1 at a random choice of up to 9 channels, most often few, 0 elsewhere."""
    if channels == 1:
        return torch.ones(1)
    most = min(channels, LENGTH)
    size = int(2 ** (torch.rand(()).item() * math.log2(most + 1)))
    signs = torch.zeros(channels)
    chosen = torch.randperm(channels)[:size]
    signs[chosen] = torch.randint(0, 2, (size,)) * 2.0 - 1
    return signs
