"""The layers of a core: Linear and neuron, or SD-TCM blocks. Both take (x, state, starts) and have a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from spikeseq.blocks import SDTCM
from spikeseq.neurons import Neuron, State

from .timing import unit_variance_gain

DRIVE = 2.0  # deviation of a membrane at the start, in thresholds, on inputs of variance 1: a third of the steps spike
STREAMING_NORMS = ("layer", "none")


class Mixer(nn.Linear):
    """`scale * (W x + b)`, scale [outputs] fixed: slow neurons need large inputs, which steps of Adam's size on W alone
    would hardly move."""

    scale: Tensor

    def __init__(self, inputs: int, outputs: int, scale: Tensor) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.scale.unsqueeze(-1) * self.weight, self.scale * self.bias)


class Layer(nn.Module):
    """`neuron(mixer(dropout(x)))`: x [batch, time, inputs] -> [batch, time, width]; one step without the time axis."""

    def __init__(self, inputs: int, neuron: Neuron, dropout: float = 0.0) -> None:
        super().__init__()
        # nn.Linear's uniform weights have variance 1 / (3 fan_in)
        self.mixer = Mixer(inputs, neuron.width, DRIVE * 3**0.5 * unit_variance_gain(neuron))
        self.neuron = neuron
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        return self.neuron(self.mixer(self.dropout(x)), state, starts)

    def step(self, x_t: Tensor, state: State = None) -> tuple[Tensor, State]:
        return self.neuron.step(self.mixer(self.dropout(x_t)), state)


def streaming_block(width: int, make: Callable[..., Neuron], dropout: float, options: dict[str, Any]) -> SDTCM:
    """An SD-TCM block whose step in training equals its whole pass: of one direction, without batch statistics."""
    options = {"norm": "layer", "dropout": dropout, **options}
    if options["norm"] not in STREAMING_NORMS:
        raise ValueError(
            f"SpikingCore: expected sdtcm's norm as one of {STREAMING_NORMS}, got {options['norm']!r}; batch "
            "statistics of training are not those of acting step by step"
        )
    if options.get("bidirectional"):
        raise ValueError("SpikingCore: expected sdtcm with bidirectional=False, a policy cannot see the future")
    return SDTCM(width, make, **options)
