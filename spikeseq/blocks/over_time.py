"""Networks on maps [batch, time, channels, *space]: stateless layers on all steps in one call, neurons over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import fuse_conv_bn_eval
from torch.utils import _pytree as pytree

from ..neurons import Neuron, make


def over_time(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer` on every step, in one call over batch * time: [batch, time, ...] -> [batch, time, ...]."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Stateful(nn.Module):
    """A layer over time: `y, state = layer(x, state=None, starts=None)`, x and y [batch, time, channels, ...]."""


class MapNeuron(Stateful):
    """A neuron at every position of a map, with parameters a channel that all positions share.

    x: [batch, time, channels, *space] -> spikes of the same shape. neuron, neuron_options: what
    `spikeseq.neurons.make` takes, width = channels. State: the neuron's, [batch, positions, ...].
    """

    def __init__(
        self,
        neuron: str | Callable[..., Neuron],
        channels: int,
        neuron_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.neuron = make(neuron, channels, **(neuron_options or {}))

    def forward(self, x: Tensor, state: Any = None, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        batch, time, channels = x.shape[:3]
        rows = x.reshape(batch, time, channels, -1).permute(0, 3, 1, 2)
        positions = rows.shape[1]
        begin = pytree.tree_map_only(Tensor, lambda s: s.flatten(0, 1), state)
        marks = None if starts is None else starts.repeat_interleave(positions, dim=0)
        spikes, end = self.neuron(rows.flatten(0, 1), begin, marks)
        spikes = spikes.unflatten(0, (batch, positions)).permute(0, 2, 3, 1).reshape(x.shape)
        return spikes, pytree.tree_map_only(Tensor, lambda s: s.unflatten(0, (batch, positions)), end)


class SpikingLayers(Stateful):
    """Layers one after another, stateful ones over time and the others on each step.

    `state` is a tuple with one state a layer, None for layers that have none.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(
        self, x: Tensor, state: tuple[Any, ...] | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        ends = []
        for layer, begin in zip(self.layers, state or (None,) * len(self.layers), strict=True):
            if isinstance(layer, Stateful):
                x, end = layer(x, begin, starts)
            else:
                x, end = over_time(layer, x), None
            ends.append(end)
        return x, tuple(ends)


class SpikingResidual(Stateful):
    """`main(x) + shortcut(x)`, sums of spikes: the ADD of SEW-ResNet (arXiv 2102.04159). An empty shortcut is x."""

    def __init__(self, main: SpikingLayers, shortcut: SpikingLayers) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(
        self, x: Tensor, state: tuple[Any, Any] | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, Any]]:
        begin, begin_shortcut = state or (None, None)
        y, end = self.main(x, begin, starts)
        passed, end_shortcut = self.shortcut(x, begin_shortcut, starts)
        return y + passed, (end, end_shortcut)


class ConvNorm(nn.Sequential):
    """A convolution without bias and its batch norm over (batch, time, space); `fold_` merges them for inference.

    x: [n, inputs, *space], with one or two axes of space -> [n, outputs, *space / stride].
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, axes: int = 2) -> None:
        conv, norm = ((nn.Conv1d, nn.BatchNorm1d), (nn.Conv2d, nn.BatchNorm2d))[axes - 1]
        super().__init__(conv(inputs, outputs, kernel, stride, kernel // 2, bias=False), norm(outputs))

    def fold_(self) -> None:
        """Turn the pair, in place and in eval mode, into one convolution with a bias."""
        conv, norm = self
        if isinstance(conv, _ConvNd) and isinstance(norm, _BatchNorm):
            self[0], self[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
