"""The block of spiking state-space models: mix over time, fire, mix over channels through a gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ..neurons import Neuron, make
from .block import Block, hide_padding
from .dropout import Dropout
from .padding import Padding, as_padding


class SSM(Block):
    """One block, see `Block`. x: [batch, time, width] -> [batch, time, width].

        V = norm(x)                          placement "pre"; otherwise V = x
        U = mixer(V)                         token mixer, linear or gated; left out by default, U = V
        S = neuron(U)
        Y = x + dropout(a * sigmoid(b))      [a, b] = Linear(S), width -> 2 width
        y = norm(Y)                          placement "post"

    neuron, neuron_options: what `spikeseq.neurons.make` takes. mixer, mixer_options: the same, and the membrane of
    that neuron is U: PRF's is a diagonal complex state-space model, LIF's with reset="none" a leaky average, DSN's a
    gated recurrence, SlidingPSN's a causal convolution. `state` is the pair (mixer's, neuron's), the mixer's None
    where there is none. The Linear sees spikes alone; the gate's product a * sigmoid(b) is not spike-driven.

    Source: DSN paper, arXiv 2602.01133, and SpikingSSMs, arXiv 2408.14909, language modelling; the place of the norm
    is open there.
    """

    skips_norm = True

    def __init__(
        self,
        width: int,
        neuron: str | Callable[..., Neuron] = "DSN",
        neuron_options: dict[str, Any] | None = None,
        mixer: str | Callable[..., Neuron] | None = None,
        mixer_options: dict[str, Any] | None = None,
        norm: str = "layer",
        placement: str = "pre",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width, norm, placement)
        if mixer is None and mixer_options:
            raise ValueError(f"SSM: expected a mixer for mixer_options, got mixer=None and {mixer_options}")
        self.mixer = None if mixer is None else make(mixer, width, **{**(mixer_options or {}), "output": "membrane"})
        self.neuron = make(neuron, width, **(neuron_options or {}))
        self.linear = nn.Linear(width, 2 * width)
        self.gate = nn.GLU()
        self.dropout = Dropout(dropout)

    def initial_state(self, batch: int) -> tuple[Any, Any]:
        """Fresh states of mixer and neuron."""
        return None if self.mixer is None else self.mixer.initial_state(batch), self.neuron.initial_state(batch)

    def forward(
        self,
        x: Tensor,
        state: tuple[Any, Any] | None = None,
        starts: Tensor | None = None,
        lengths: Tensor | Padding | None = None,
    ) -> tuple[Tensor, tuple[Any, Any] | None]:
        padding = as_padding(lengths, x.shape[0], x.shape[1])
        mixed, fired = state or (None, None)
        membrane = self._before(x, padding)
        if self.mixer is not None:
            membrane, mixed = self.mixer(hide_padding(self.mixer, membrane, padding), mixed, starts)
        spikes, fired = self.neuron(hide_padding(self.neuron, membrane, padding), fired, starts)
        y = self._after(x + self._mix_channels(spikes), padding)
        return y, (mixed, fired) if padding is None else None

    def step(self, x_t: Tensor, state: tuple[Any, Any] | None = None) -> tuple[Tensor, tuple[Any, Any]]:
        """One step: x_t [batch, width] -> (y_t [batch, width], state)."""
        mixed, fired = state or (None, None)
        membrane = self._before_step(x_t)
        if self.mixer is not None:
            membrane, mixed = self.mixer.step(membrane, mixed)
        spikes, fired = self.neuron.step(membrane, fired)
        return self._after_step(x_t + self._mix_channels(spikes)), (mixed, fired)

    def _mix_channels(self, spikes: Tensor) -> Tensor:
        return self.dropout(self.gate(self.linear(spikes)))
