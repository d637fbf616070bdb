"""The forecasting network: a stack of spiking neurons and a direct multi-horizon head. Pure torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from spikeseq.blocks import Backbone
from spikeseq.neurons import NEURONS

from .distributions import Distribution, make_distribution

# The papers' settings are for thousands of steps; these fire on tens of them.
NEURON_OPTIONS: dict[str, dict[str, Any]] = {
    "PRF": {"dt_min": 0.05, "dt_max": 1.0},
    "LIF": {"decay": 0.9, "train_decay": True},
    "DSN": {},
}


class ForecastNetwork(nn.Module):
    """At each step, parameters of the distribution of each of the next `horizon` values' residuals over a baseline.

        z = body(Linear(x));   raw_t,h = W_h z_t + V_h x_t + U known_{t+h}

        raw, state = network(x, state=None, starts=None, lengths=None, known=None)
        raw_t, state = network.step(x_t, state, known_t)

    x: [batch, time, inputs], raw: [batch, time, horizon, targets, parameters]; a step lacks the time axis. known: what
    is known of the future, such as the calendar, [batch, time, horizon, known]: its row t, h is of time t + 1 + h.
    W, V, U start at zero, so training starts from the baseline. V, the linear shortcut, moves the first parameter
    (the location) alone. Stepping gives what the whole pass gives; the caller holds the state; with `lengths` it is
    None. To train long horizons on few steps call `encode` and then `head` on a selection of its steps.

    distribution: a name of `distributions` or a Distribution. neuron, neuron_options: what `spikeseq.neurons.make`
    takes; NEURON_OPTIONS stand in for None. block_options: more options of the body's blocks.
    """

    def __init__(
        self,
        inputs: int,
        horizon: int,
        distribution: str | Distribution = "student_t",
        *,
        targets: int = 1,
        known: int = 0,
        width: int = 32,
        depth: int = 1,
        neuron: Any = "PRF",
        neuron_options: dict[str, Any] | None = None,
        block_options: dict[str, Any] | None = None,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        if horizon < 1 or targets < 1:
            raise ValueError(f"expected horizon and targets of at least 1, got {horizon} and {targets}")
        self.horizon, self.targets = horizon, targets
        self.distribution = make_distribution(distribution)
        parameters = self.distribution.parameters
        if neuron_options is None:
            neuron_options = NEURON_OPTIONS.get(neuron, {}) if isinstance(neuron, str) else {}
        kind = NEURONS.get(neuron) if isinstance(neuron, str) else neuron
        if not getattr(kind, "causal", True):
            raise ValueError(
                "neuron: expected one that is causal and takes any length, as PRF, LIF, DSN and SlidingPSN do, got "
                f"{neuron!r}"
            )
        options = {"norm": "none", **(block_options or {})}
        self.encoder = nn.Linear(inputs, width)
        self.body = Backbone(width, depth, neuron=neuron, neuron_options=neuron_options, **options)
        self.output = nn.Linear(width, horizon * targets * parameters)
        self.shortcut = nn.Linear(inputs, horizon * targets, bias=False) if shortcut else None
        self.known = nn.Linear(known, targets * parameters, bias=False) if known else None
        for layer in (self.output, self.shortcut, self.known):
            if layer is not None:
                nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.output.bias)

    def initial_state(self, batch: int) -> Any:
        """A fresh state for `batch` sequences."""
        return self.body.initial_state(batch)

    def encode(
        self, x: Tensor, state: Any = None, starts: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """The recurrent part: x [batch, time, inputs] -> (z [batch, time, width], state)."""
        return self.body(self.encoder(x), state, starts, lengths)

    def head(self, z: Tensor, x: Tensor, known: Tensor | None = None) -> Tensor:
        """The part that works on each step alone: z [..., width], x [..., inputs] -> raw [..., horizon, ...]."""
        raw = self.output(z).unflatten(-1, (self.horizon, self.targets, -1))
        if self.shortcut is not None:
            location = self.shortcut(x).unflatten(-1, (self.horizon, self.targets, 1))
            raw = raw + nn.functional.pad(location, (0, raw.shape[-1] - 1))
        if (known is None) != (self.known is None):
            raise ValueError(
                f"known: expected {'None' if self.known is None else '[..., horizon, known]'}, "
                f"got {None if known is None else list(known.shape)}"
            )
        if known is not None and self.known is not None:
            raw = raw + self.known(known).unflatten(-1, (self.targets, -1))
        return raw

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        starts: Tensor | None = None,
        lengths: Tensor | None = None,
        known: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        z, state = self.encode(x, state, starts, lengths)
        return self.head(z, x, known), state

    def step(self, x_t: Tensor, state: Any = None, known_t: Tensor | None = None) -> tuple[Tensor, Any]:
        """One step: x_t [batch, inputs] -> raw_t [batch, horizon, targets, parameters], state."""
        z_t, state = self.body.step(self.encoder(x_t), state)
        return self.head(z_t, x_t, known_t), state
