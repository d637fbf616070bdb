"""A spike-driven Transformer block: attention and MLP whose products all have spikes as their input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..neurons import Neuron, make
from .attention import SpikeAttention
from .block import Block, hide_padding
from .dropout import Dropout
from .norm import Affine, Norm, fold_norm, make_norm, normalise, normalise_step
from .padding import Padding, as_padding

STATES = 6  # of five layers of neurons and the attention's memory


class NormedLinear(nn.Module):
    """`y = norm(x W^T + b)`. In eval mode a batch norm folds into W and b. x: [..., inputs] -> [..., outputs]."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm: Norm = make_norm(norm, outputs)

    def forward(self, x: Tensor, normal: Callable[[Norm, Tensor], Tensor]) -> Tensor:
        """`normal` applies the norm: to a whole sequence or to one step."""
        return normal(self.norm, self.linear(x))

    def fold_(self) -> None:
        """Merge a batch norm, in place: `scale (W x + b) + shift = (scale W) x + (scale b + shift)`."""
        norm = fold_norm(self.norm)
        if isinstance(norm, Affine):
            with torch.no_grad():
                self.linear.weight.mul_(norm.scale[:, None])
                self.linear.bias.copy_(norm(self.linear.bias))
            norm = nn.Identity()
        self.norm = norm


class Spikformer(Block):
    """One block, see `Block`. x: [batch, time, width] -> [batch, time, width]; each SN is a layer of neurons.

        Q, K, V = SN(norm(Linear(SN(x))))                width -> 3 width
        R = x + dropout(norm(Linear(SN(norm(A)))))       A = scale * Q M, see `SpikeAttention`
        y = R + dropout(norm(Linear(SN(norm(Linear(SN(R)))))))       width -> expansion * width -> width

    The residual stream is a membrane, in floats; norms follow their Linear and fold into it, but for the one of A.
    heads, decay, scale: `SpikeAttention`'s. bidirectional: attention over all steps of an episode, for images and
    other whole sequences; such a block has no step and takes and gives no state. `state` is the tuple of the five
    neurons' states, in the order of the equations, and the attention's memory after the second.
    Sources: Spikformer (arXiv 2209.15425), with the membrane shortcut of the Spike-driven Transformer (2307.01694).
    """

    residual_sums = 2

    def __init__(
        self,
        width: int,
        neuron: str | Callable[..., Neuron] = "LIF",
        neuron_options: dict[str, Any] | None = None,
        heads: int = 4,
        decay: float | Sequence[float] | None = None,
        scale: float = 0.125,
        expansion: int = 4,
        bidirectional: bool = False,
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width, norm, placement="none")
        if expansion < 1:
            raise ValueError(f"expansion: expected at least 1, got {expansion}")
        self.bidirectional = bidirectional

        def neurons(size: int) -> Neuron:
            return make(neuron, size, **(neuron_options or {}))

        hidden = expansion * width
        self.neuron_in, self.qkv = neurons(width), NormedLinear(width, 3 * width, norm)
        self.neuron_qkv, self.attention = neurons(3 * width), SpikeAttention(width, heads, decay, scale, bidirectional)
        self.attention_norm = make_norm(norm, width)
        self.neuron_attention, self.project = neurons(width), NormedLinear(width, width, norm)
        self.neuron_mlp, self.expand = neurons(width), NormedLinear(width, hidden, norm)
        self.neuron_hidden, self.contract = neurons(hidden), NormedLinear(hidden, width, norm)
        self.dropout = Dropout(dropout)

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """The fresh states of neurons and memory, in the order of the equations."""
        self._forbid_streaming("initial_state")
        parts = (self.neuron_in, self.neuron_qkv, self.attention, self.neuron_attention, self.neuron_mlp,
                 self.neuron_hidden)  # fmt: skip
        return tuple(part.initial_state(batch) for part in parts)

    def forward(
        self,
        x: Tensor,
        state: tuple[Any, ...] | None = None,
        starts: Tensor | None = None,
        lengths: Tensor | Padding | None = None,
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        padding = as_padding(lengths, x.shape[0], x.shape[1])
        if state is not None:
            self._forbid_streaming("a carried state")

        def fire(neuron: Neuron, current: Tensor, begin: Any) -> tuple[Tensor, Any]:
            return neuron(hide_padding(neuron, current, padding), begin, starts)

        y, ends = self._mix(x, state, fire, lambda norm, z: normalise(norm, z, padding), starts, padding)
        return y, None if self.bidirectional or padding is not None else ends

    def step(self, x_t: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """One step: x_t [batch, width] -> (y_t [batch, width], state)."""
        self._forbid_streaming("step")

        def fire(neuron: Neuron, current: Tensor, begin: Any) -> tuple[Tensor, Any]:
            spikes, end = neuron.step(current.squeeze(1), begin)
            return spikes.unsqueeze(1), end

        y, ends = self._mix(
            x_t.unsqueeze(1), state, fire, lambda norm, z: normalise_step(norm, z.squeeze(1)).unsqueeze(1)
        )
        return y.squeeze(1), ends

    def fold_(self) -> None:
        for layer in (self.qkv, self.project, self.expand, self.contract):
            layer.fold_()
        self.attention_norm = fold_norm(self.attention_norm)

    def _mix(
        self,
        x: Tensor,
        state: tuple[Any, ...] | None,
        fire: Callable[[Neuron, Tensor, Any], tuple[Tensor, Any]],
        normal: Callable[[Norm, Tensor], Tensor],
        starts: Tensor | None = None,
        padding: Padding | None = None,
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """The equations; `fire` and `normal` run neurons and norms on the whole sequence or on one step of it."""
        first, second, memory, third, fourth, fifth = (None,) * STATES if state is None else state
        spikes, first = fire(self.neuron_in, x, first)
        qkv, second = fire(self.neuron_qkv, self.qkv(spikes, normal), second)
        attended, memory = self.attention(*qkv.chunk(3, dim=-1), memory, starts, padding)
        spikes, third = fire(self.neuron_attention, normal(self.attention_norm, attended), third)
        x = x + self.dropout(self.project(spikes, normal))
        spikes, fourth = fire(self.neuron_mlp, x, fourth)
        spikes, fifth = fire(self.neuron_hidden, self.expand(spikes, normal), fifth)
        x = x + self.dropout(self.contract(spikes, normal))
        return x, (first, second, memory, third, fourth, fifth)

    def _forbid_streaming(self, what: str) -> None:
        if self.bidirectional:
            raise RuntimeError(
                f"Spikformer: {what} needs a causal block, but this one is bidirectional and sees the whole sequence; "
                "build it with bidirectional=False to stream"
            )

    def extra_repr(self) -> str:
        return f"width={self.width}, bidirectional={self.bidirectional}"
