"""SEW-ResNet-18, the spiking residual network for still images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..neurons import Neuron
from .cnn import SpikingCNN
from .over_time import ConvNorm, MapNeuron, SpikingLayers, SpikingResidual


class SEWResNet18(SpikingCNN):
    """ResNet-18 of spiking neurons whose residual connection adds spikes, so that it carries integers.

        y = SN(norm(conv(SN(norm(conv(x)))))) + x          two such blocks of 3 x 3 convolutions a stage; where the size
                                                           changes, x goes through SN(norm(conv 1 x 1)) first

    x: still images [batch, *size], size (channels, height, width), each shown for `steps` steps; steps=None takes
    [batch, time, *size]. widths: channels of the stages, each but the first halves the sides. stem: "imagenet"
    (7 x 7 of stride 2 and a 3 x 3 maximum of stride 2) or "cifar" (3 x 3).
    Source: SEW-ResNet, arXiv 2102.04159, with ADD.
    """

    def __init__(
        self,
        classes: int = 1000,
        size: tuple[int, int, int] = (3, 224, 224),
        widths: Sequence[int] = (64, 128, 256, 512),
        steps: int | None = 4,
        stem: str = "imagenet",
        neuron: str | Callable[..., Neuron] = "DSN",
        neuron_options: dict[str, Any] | None = None,
    ) -> None:
        if stem not in ("imagenet", "cifar"):
            raise ValueError(f"stem: expected imagenet or cifar, got {stem!r}")

        def fire(channels: int) -> MapNeuron:
            return MapNeuron(neuron, channels, neuron_options)

        def block(inputs: int, outputs: int, stride: int) -> SpikingResidual:
            main = (ConvNorm(inputs, outputs, 3, stride), fire(outputs), ConvNorm(outputs, outputs), fire(outputs))
            same = inputs == outputs and stride == 1
            shortcut = () if same else (ConvNorm(inputs, outputs, 1, stride), fire(outputs))
            return SpikingResidual(SpikingLayers(*main), SpikingLayers(*shortcut))

        encoder = ConvNorm(size[0], widths[0], 7, 2) if stem == "imagenet" else ConvNorm(size[0], widths[0])
        layers: list[nn.Module] = [fire(widths[0])]
        if stem == "imagenet":
            layers.append(nn.MaxPool2d(3, 2, 1))
        for stage, outputs in enumerate(widths):
            inputs, stride = (outputs, 1) if stage == 0 else (widths[stage - 1], 2)
            layers += [block(inputs, outputs, stride), block(outputs, outputs, 1)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(size, encoder, SpikingLayers(*layers), widths[-1], classes, steps)
