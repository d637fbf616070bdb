"""An actor of spiking neurons between population codes, as in PopSAN (Tang et al. 2020, arXiv 2010.09635)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeseq.neurons import LIF

from .core import SpikingCore
from .layers import Layer
from .timing import spread

ENCODED = (-3.0, 3.0)  # where the fields' centres begin; normalise observations, or train the centres there
FIELD_DEVIATION = 0.15**0.5


class GaussianEncoder(nn.Module):
    """`population` neurons a dimension with Gaussian receptive fields, as spikes: [batch, dims] -> 0 or 1
    [batch, steps, dims * population].

        activity = exp(-((x - centre) / deviation)^2 / 2);   each neuron sums it up, spikes at 1 and subtracts 1

    so that the number of spikes is the activity times `steps`, rounded down. Centres and deviations are trained.
    """

    def __init__(self, dims: int, population: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.centre = nn.Parameter(torch.linspace(*ENCODED, population).repeat(dims, 1))
        self.log_deviation = nn.Parameter(torch.full((dims, population), FIELD_DEVIATION).log())
        # a little below 1, for 5 times 0.2 in float32
        self.neuron = LIF(dims * population, decay=1.0, threshold=0.999, reset="soft")

    def forward(self, x: Tensor) -> Tensor:
        distance = (x.unsqueeze(-1) - self.centre) / self.log_deviation.exp()
        activity = torch.exp(-0.5 * distance.square()).flatten(1)
        return self.neuron(activity.unsqueeze(1).expand(-1, self.steps, -1))[0]


class PopulationNetwork(nn.Module):
    """observations [batch, frames * dims] -> actions in [-1, 1], [batch, actions].

    Encoder, `layers` of `width` spiking neurons, `population` spiking neurons an action, all for `steps` steps; the
    spike rates of an action's population, weighted, give tanh's argument. With `frames` > 1 the observation is that of
    VecFrameStack, oldest first: the neurons run through all frames, `steps` each, their state carried from frame to
    frame, and the rates are those of the last frame.
    """

    def __init__(
        self, inputs: int, actions: int, frames: int, steps: int, population: int, width: int, layers: int,
        **core_options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value in (("frames", frames), ("steps", steps), ("population", population)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"SpikingTD3Policy: expected {name} as a whole number >= 1, got {value!r}")
        if inputs % frames:
            raise ValueError(
                f"SpikingTD3Policy: expected frames (VecFrameStack's n_stack) to divide the {inputs} values of an "
                f"observation, got {frames}"
            )
        self.frames, self.steps = frames, steps
        core_options = {"neuron": "DSN", "time_constants": (1.0, 2.0 * frames * steps), **core_options}
        self.encoder = GaussianEncoder(inputs // frames, population, steps)
        self.core = SpikingCore(inputs // frames * population, width, layers, **core_options)
        neuron, options = core_options["neuron"], core_options.get("neuron_options") or {}
        self.out = Layer(width, spread(neuron, actions * population, core_options["time_constants"], options))
        self.decoder = nn.Conv1d(actions, actions, population, groups=actions)

    def forward(self, observations: Tensor) -> Tensor:
        batch = len(observations)
        spikes = self.encoder(observations.reshape(batch * self.frames, -1)).reshape(
            batch, self.frames * self.steps, -1
        )
        spikes, _ = self.out(self.core.sequence(spikes)[0])
        rates = spikes[:, -self.steps :].mean(1)
        return torch.tanh(self.decoder(rates.unflatten(1, (self.decoder.out_channels, -1))).squeeze(-1))
