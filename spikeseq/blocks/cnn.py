"""Spiking convolutional networks: images column by column, event frames."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..neurons import Neuron
from ..ops import checks
from .heads import PooledState, ValidMean
from .over_time import ConvNorm, MapNeuron, SpikingLayers, over_time


class SpikingCNN(nn.Module):
    """Encoder (a convolution that sees the input itself), spiking layers, mean over time, Linear to `classes`.

        logits = model(x)                          x [batch, time, *size] -> [batch, classes]
        logits_t, state = model.step(x_t, state)   x_t [batch, *size]; after t steps: the logits of model(x[:, :t])

    size: (channels, *space); x may have these axes flattened into one, and be the pixels [..., height * width, 1] of
    grey images. steps: x is a batch of still images [batch, *size], each shown for so many steps.
    Streaming needs eval mode (batch norms) and causal neurons; None starts afresh. Wrong shapes, dtypes and values
    raise ValueError or TypeError.
    """

    def __init__(
        self, size: Sequence[int], encoder: nn.Module, layers: SpikingLayers, features: int, classes: int,
        steps: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if classes < 1 or (steps is not None and steps < 1):
            raise ValueError(f"expected classes and steps of at least 1, got classes={classes}, steps={steps}")
        self.size = tuple(size)
        self.steps = steps
        self.encoder = encoder
        self.layers = layers
        self.pool = ValidMean()
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.steps is None:
            current = over_time(self.encoder, self._maps(x, "batch", "time"))
        else:
            still = self.encoder(self._maps(x, "batch"))
            current = still.unsqueeze(1).expand(-1, self.steps, *still.shape[1:])
        spikes, _ = self.layers(current)
        return self.head(self.pool(spikes))

    def step(self, x_t: Tensor, state: PooledState | None = None) -> tuple[Tensor, PooledState]:
        """One step: x_t [batch, *size] -> logits of all steps so far [batch, classes], state."""
        x_t = self._maps(x_t, "batch")
        for name, module in self.named_modules():
            if isinstance(module, Neuron) and not module.causal:
                raise TypeError(
                    f"{name}: {type(module).__name__} sees the future, so this network cannot stream; "
                    "take a causal neuron, such as SlidingPSN"
                )
        if self.training:
            raise RuntimeError("step: expected eval mode, got training mode; call model.eval() before streaming")
        if state is not None and state.mean.shape[0] != x_t.shape[0]:
            raise ValueError(f"state: expected batch {x_t.shape[0]} like x_t, got batch {state.mean.shape[0]}")
        layers, mean, steps = state or (None, 0.0, torch.zeros(x_t.shape[0], dtype=torch.long, device=x_t.device))
        spikes, layers = self.layers(self.encoder(x_t).unsqueeze(1), layers)
        steps = steps + 1
        mean = mean + (spikes.squeeze(1) - mean) / steps[:, None]
        return self.head(mean), PooledState(layers, mean, steps)

    def fold(self) -> SpikingCNN:
        """An inference copy with the same logits, up to rounding: every batch norm merged into its convolution."""
        folded = copy.deepcopy(self).eval().requires_grad_(False)
        for module in folded.modules():
            if isinstance(module, ConvNorm):
                module.fold_()
        return folded

    def _maps(self, x: Tensor, *axes: str) -> Tensor:
        """x [*axes, *size], checked."""
        expected = f"[{', '.join(axes)}, {', '.join(map(str, self.size))}]"
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"input: expected a floating tensor {expected}, got {checks.shape_of(x)}")
        if x.ndim == len(axes) + 2 and self.size[0] == x.shape[-1] == 1:
            x = x.squeeze(-1)
        if x.ndim == len(axes) + 1 and x.shape[-1] == math.prod(self.size):
            x = x.unflatten(-1, self.size)
        if x.ndim != len(axes) + len(self.size) or x.shape[len(axes) :] != self.size or 0 in x.shape:
            raise ValueError(f"input: expected {expected}, each at least 1, got {checks.shape_of(x)}")
        checks.finite("input", "values", x)
        return x


class ColumnCNN(SpikingCNN):
    """The network of sequential CIFAR: one column of the image a step, convolutions along the column.

        [conv1d 3 -> norm -> neuron] x 3, mean of 2, the same again, flatten, Linear(width height / 4 -> 2 width),
        neuron, Linear(2 width -> classes); the mean over time of the logits

    x: [batch, time, channels, height]. neuron, neuron_options: what `spikeseq.neurons.make` takes.
    Source: PSN paper, arXiv 2304.12760 (width 128, 32 columns of 3 x 32); DSN paper, arXiv 2602.01133.
    """

    def __init__(
        self,
        classes: int = 10,
        width: int = 128,
        channels: int = 3,
        height: int = 32,
        neuron: str | Callable[..., Neuron] = "DSN",
        neuron_options: dict[str, Any] | None = None,
    ) -> None:
        if height % 4 or height < 4:
            raise ValueError(f"height: expected a multiple of 4 (it is halved twice), got {height}")

        def fire(size: int = width) -> MapNeuron:
            return MapNeuron(neuron, size, neuron_options)

        def conv() -> ConvNorm:
            return ConvNorm(width, width, axes=1)

        layers = SpikingLayers(
            fire(), conv(), fire(), conv(), fire(), nn.AvgPool1d(2),
            conv(), fire(), conv(), fire(), conv(), fire(), nn.AvgPool1d(2),
            nn.Flatten(), nn.Linear(width * height // 4, 2 * width), fire(2 * width),
        )  # fmt: skip
        super().__init__((channels, height), ConvNorm(channels, width, axes=1), layers, 2 * width, classes)


class EventCNN(SpikingCNN):
    """A VGG-type network for event frames: stages of [conv2d 3 x 3 -> norm -> neuron], a 2 x 2 mean after each.

    x: [batch, time, *size], size (polarities, height, width), or still images, see `SpikingCNN`. stages: the channels
    of each convolution, stage by stage; the default is the network of CIFAR10-DVS. After the last flatten, dropout,
    Linear.
    Source: TET, arXiv 2202.11946 (VGGSNN), as used by the PSN and DSN papers.
    """

    def __init__(
        self,
        classes: int = 10,
        size: tuple[int, int, int] = (2, 48, 48),
        stages: Sequence[Sequence[int]] = ((64, 128), (256, 256), (512, 512), (512, 512)),
        neuron: str | Callable[..., Neuron] = "DSN",
        neuron_options: dict[str, Any] | None = None,
        dropout: float = 0.0,
        steps: int | None = None,
    ) -> None:
        if not stages or any(not stage for stage in stages):
            raise ValueError(f"stages: expected at least one convolution a stage, got {stages}")
        shrunk = [side >> len(stages) for side in size[1:]]
        if 0 in shrunk:
            raise ValueError(
                f"size: expected sides of at least {1 << len(stages)} for {len(stages)} stages, got {size}"
            )
        before, layers = size[0], []
        for stage in stages:
            for channels in stage:
                layers += [ConvNorm(before, channels), MapNeuron(neuron, channels, neuron_options)]
                before = channels
            layers.append(nn.AvgPool2d(2))
        encoder, *rest = *layers, nn.Flatten(), nn.Dropout(dropout)
        super().__init__(size, encoder, SpikingLayers(*rest), before * shrunk[0] * shrunk[1], classes, steps)
