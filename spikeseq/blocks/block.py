"""The contract that every block of a backbone keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from ..neurons import Neuron
from .norm import Norm, fold_norm, make_norm, normalise, normalise_step
from .padding import Padding

PLACEMENTS = ("pre", "post", "none")


class Block(nn.Module, ABC):
    """One layer of a backbone on sequences, with one norm: before its mixing ("pre"), after it ("post"), or none.

        y, state = block(x, state=None, starts=None, lengths=None)      x, y: [batch, time, width]
        y_t, state = block.step(x_t, state)                             x_t, y_t: [batch, width]

    norm: "batch", "layer" or "none". `starts` bool [batch, time] marks first steps of episodes; `lengths` [batch]
    marks padded rows. With `lengths` the returned state is None, since rows end at different steps.
    """

    bidirectional: bool = False
    skips_norm: bool = False  # whether a residual passes the first norm by, so that no encoder can take it over
    residual_sums: int = 1  # additions to the residual stream, for each of its values

    def __init__(self, width: int, norm: str, placement: str) -> None:
        super().__init__()
        if placement not in PLACEMENTS:
            raise ValueError(f"placement: expected one of {', '.join(PLACEMENTS)}, got {placement!r}")
        self.width = width
        self.placement = placement
        self.norm_kind = "none" if placement == "none" else norm
        self.norm: Norm = make_norm(self.norm_kind, width)

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """A fresh state for `batch` sequences."""

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        state: Any = None,
        starts: Tensor | None = None,
        lengths: Tensor | Padding | None = None,
    ) -> tuple[Tensor, Any]: ...

    @abstractmethod
    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]: ...

    def final_norm(self) -> Norm:
        """A fresh norm for after the last block: needed where blocks normalise their input."""
        return make_norm(self.norm_kind if self.placement == "pre" else "none", self.width)

    def fold_(self) -> None:
        """Turn this block, in place, into its inference form: see `Backbone.fold`."""
        self.norm = fold_norm(self.norm)

    def _before(self, x: Tensor, padding: Padding | None) -> Tensor:
        return normalise(self.norm, x, padding) if self.placement == "pre" else x

    def _after(self, y: Tensor, padding: Padding | None) -> Tensor:
        return normalise(self.norm, y, padding) if self.placement == "post" else y

    def _before_step(self, x_t: Tensor) -> Tensor:
        return normalise_step(self.norm, x_t) if self.placement == "pre" else x_t

    def _after_step(self, y_t: Tensor) -> Tensor:
        return normalise_step(self.norm, y_t) if self.placement == "post" else y_t


def hide_padding(neuron: Neuron, x: Tensor, padding: Padding | None) -> Tensor:
    """What `neuron` may see of `x` [batch, time, width]: a neuron that sees the future gets zeros for padded steps."""
    if padding is None or neuron.causal:
        return x
    return x.masked_fill(~padding.mask[..., None], 0.0)
