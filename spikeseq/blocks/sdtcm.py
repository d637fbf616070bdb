"""SD-TCM, the spike-driven token and channel mixer (PRF paper, arXiv 2410.03530, appendix H)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..neurons import Neuron, make
from ..ops import spike
from .block import Block, hide_padding
from .dropout import Dropout
from .padding import Padding, as_padding, reverse_starts, reverse_time

SPATIAL_THRESHOLD = 0.5


class SpatialNeuron(nn.Module):
    """The neuron of the channel mixer, `S' = alpha * H(R - 0.5)`, `alpha = exp(log_alpha)`, one scalar a layer.

    No memory; surrogate atan(2). `forward` gives `H(R - 0.5)` in {0, 1}, any shape; `alpha` goes into the Linear that
    follows, because `(alpha s) W = s (alpha W)`: the product sees spikes, in training too, and alpha costs one pass
    over the weight instead of several over the sequence. `alpha` is None (the constant 1) in a folded block.
    """

    log_alpha: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(()))

    @property
    def alpha(self) -> Tensor | None:
        return None if self.log_alpha is None else self.log_alpha.exp()

    def forward(self, membrane: Tensor) -> Tensor:
        return spike(membrane, SPATIAL_THRESHOLD)

    def extra_repr(self) -> str:
        return f"threshold={SPATIAL_THRESHOLD}" + (", folded" if self.log_alpha is None else "")


class ScaledLinear(nn.Linear):
    """`y = x (scale W)^T + b` with a scalar scale. x: [..., in] -> [..., out]."""

    def forward(self, input: Tensor, scale: Tensor | None = None) -> Tensor:
        return F.linear(input, self.weight if scale is None else self.weight * scale, self.bias)


class SDTCM(Block):
    """One block, see `Block`. x: [batch, time, width] -> [batch, time, width].

        V  = norm(x)                      placement "pre"; otherwise V = x
        S  = neuron(V)                    token mixing; bidirectional: a second neuron on reversed time, concatenated
        R  = V + dropout(Linear(S))
        S' = alpha * H(R - 0.5)           spatial neuron
        Y  = R + dropout(Linear(S'))      channel mixing; left out with channel_mixer=False
        Y  = x + Y                        with outer_residual
        y  = norm(Y)                      placement "post"

    neuron, neuron_options: what `spikeseq.neurons.make` takes. `state` is the neuron's. A bidirectional block sees
    the whole sequence: it has no step and takes and gives no state.
    """

    def __init__(
        self,
        width: int,
        neuron: str | Callable[..., Neuron] = "PRF",
        neuron_options: dict[str, Any] | None = None,
        bidirectional: bool = False,
        norm: str = "batch",
        placement: str = "pre",
        dropout: float = 0.0,
        channel_mixer: bool = True,
        outer_residual: bool = False,
    ) -> None:
        super().__init__(width, norm, placement)
        self.outer_residual = outer_residual
        self.neuron = make(neuron, width, **(neuron_options or {}))
        self.reverse_neuron = make(neuron, width, **(neuron_options or {})) if bidirectional else None
        self.token = nn.Linear(2 * width if bidirectional else width, width)
        self.spatial = SpatialNeuron() if channel_mixer else None
        self.channel = ScaledLinear(width, width) if channel_mixer else None
        self.dropout = Dropout(dropout)
        self.bidirectional = bidirectional
        self.skips_norm = outer_residual
        self.residual_sums = 1 + channel_mixer + outer_residual

    def initial_state(self, batch: int) -> Any:
        """The neuron's fresh state."""
        self._forbid_streaming("initial_state")
        return self.neuron.initial_state(batch)

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        starts: Tensor | None = None,
        lengths: Tensor | Padding | None = None,
    ) -> tuple[Tensor, Any]:
        padding = as_padding(lengths, x.shape[0], x.shape[1])
        stream = self._before(x, padding)
        spikes, state = self._mix_tokens(stream, state, starts, padding)
        y = self._after(self._mix_channels(x, stream, spikes), padding)
        return y, state if padding is None else None

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step: x_t [batch, width] -> (y_t [batch, width], state)."""
        self._forbid_streaming("step")
        stream = self._before_step(x_t)
        spikes, state = self.neuron.step(stream, state)
        return self._after_step(self._mix_channels(x_t, stream, spikes)), state

    def fold_(self) -> None:
        super().fold_()
        if self.spatial is not None and self.channel is not None and self.spatial.alpha is not None:
            with torch.no_grad():
                self.channel.weight.mul_(self.spatial.alpha)
            self.spatial.log_alpha = None

    def _mix_tokens(
        self, stream: Tensor, state: Any, starts: Tensor | None, padding: Padding | None
    ) -> tuple[Tensor, Any]:
        stream = hide_padding(self.neuron, stream, padding)
        if self.reverse_neuron is None:
            return self.neuron(stream, state, starts)
        if state is not None:
            self._forbid_streaming("a carried state")
        forward, _ = self.neuron(stream, None, starts)
        backward_starts = None if starts is None else reverse_starts(starts, padding)
        backward, _ = self.reverse_neuron(reverse_time(stream, padding), None, backward_starts)
        return torch.cat((forward, reverse_time(backward, padding)), dim=-1), None

    def _mix_channels(self, x: Tensor, stream: Tensor, spikes: Tensor) -> Tensor:
        """All that follows the token spikes and works on each step alone: [..., width]."""
        y = stream + self.dropout(self.token(spikes))
        if self.spatial is not None and self.channel is not None:
            y = y + self.dropout(self.channel(self.spatial(y), self.spatial.alpha))
        return x + y if self.outer_residual else y

    def _forbid_streaming(self, what: str) -> None:
        if self.reverse_neuron is not None:
            raise RuntimeError(
                f"SDTCM: {what} needs a causal block, but this one is bidirectional and sees the whole sequence; "
                "build it with bidirectional=False to stream"
            )

    def extra_repr(self) -> str:
        return (
            f"width={self.width}, placement={self.placement!r}, bidirectional={self.bidirectional}, "
            f"channel_mixer={self.channel is not None}, outer_residual={self.outer_residual}"
        )
