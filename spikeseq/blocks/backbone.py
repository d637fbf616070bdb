"""A stack of blocks."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from .block import Block
from .norm import fold_norm, normalise, normalise_step
from .padding import Padding, as_padding
from .sdtcm import SDTCM
from .spikformer import Spikformer
from .ssm import SSM


def make_block(block: str, width: int, **options: Any) -> Block:
    """A block by name with its own `options`. ValueError for an unknown name, TypeError for options it lacks."""
    # Written out: the command line's parser reads this source to know the options of every block.
    if block == "sdtcm":
        return SDTCM(width, **options)
    if block == "ssm":
        return SSM(width, **options)
    if block == "spikformer":
        return Spikformer(width, **options)
    raise ValueError(f"block: expected one of sdtcm, spikformer, ssm, got {block!r}")


class Backbone(nn.Module):
    """`depth` blocks of one `width`, with a final norm where the blocks normalise their input ("pre").

    block: "sdtcm" (`SDTCM`), "spikformer" (`Spikformer`) or "ssm" (`SSM`); `options` are its own. `state` is a tuple,
    one block's state a layer.

        y, state = backbone(x, state=None, starts=None, lengths=None)      x, y: [batch, time, width]
        y_t, state = backbone.step(x_t, state)                             x_t, y_t: [batch, width]

    In eval mode stepping gives what the whole pass gives. With `lengths` the returned state is None, since rows end
    at different steps; outputs at padded steps mean nothing, and nothing of theirs reaches a valid one.
    """

    def __init__(self, width: int, depth: int, block: str = "sdtcm", **options: Any) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"Backbone: expected width and depth of at least 1, got width {width} and depth {depth}")
        self.width = width
        self.depth = depth
        blocks = [make_block(block, width, **options) for _ in range(depth)]
        self.layers = nn.ModuleList(blocks)
        self.bidirectional = blocks[0].bidirectional
        self.final_norm = blocks[0].final_norm()

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """A fresh state for `batch` sequences."""
        return tuple(layer.initial_state(batch) for layer in self.blocks())

    def forward(
        self,
        x: Tensor,
        state: tuple[Any, ...] | None = None,
        starts: Tensor | None = None,
        lengths: Tensor | Padding | None = None,
    ) -> tuple[Tensor, tuple[Any, ...] | None]:
        if x.ndim != 3 or x.shape[-1] != self.width or 0 in x.shape:
            raise ValueError(
                f"Backbone: expected x [batch, time, width = {self.width}], each at least 1, got {list(x.shape)}"
            )
        padding = as_padding(lengths, x.shape[0], x.shape[1])
        ends = []
        for layer, begin in zip(self.blocks(), self._states(state), strict=True):
            x, end = layer(x, begin, starts, padding)
            ends.append(end)
        carried = None if self.bidirectional or padding is not None else tuple(ends)
        return normalise(self.final_norm, x, padding), carried

    def step(self, x_t: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """One step. With batch norms, in eval mode only: RuntimeError otherwise."""
        if x_t.ndim != 2 or x_t.shape[-1] != self.width or 0 in x_t.shape:
            raise ValueError(
                f"Backbone.step: expected x_t [batch, width = {self.width}], each at least 1, got {list(x_t.shape)}"
            )
        ends = []
        for layer, begin in zip(self.blocks(), self._states(state), strict=True):
            x_t, end = layer.step(x_t, begin)
            ends.append(end)
        return normalise_step(self.final_norm, x_t), tuple(ends)

    def fold(self) -> Backbone:
        """An inference copy that gives the same outputs (up to rounding) with less work.

        Exact merges: alpha into the channel Linear, `(alpha s) W = s (alpha W)`; every batch norm into one multiply
        and one add a channel, by its running statistics. A norm between blocks cannot go further: its output is both
        the neuron's input and the residual stream, which no Linear produces alone. At the two ends it can, and the
        models of `heads` do so: into the encoder before the first block and into the head after the last. A layer
        norm depends on its input and stays. The copy is in eval mode and wants no gradients.
        """
        folded = copy.deepcopy(self).eval().requires_grad_(False)
        for layer in folded.blocks():
            layer.fold_()
        folded.final_norm = fold_norm(folded.final_norm)
        return folded

    def blocks(self) -> list[Block]:
        """The layers, from input to output."""
        return [layer for layer in self.layers if isinstance(layer, Block)]

    def _states(self, state: tuple[Any, ...] | None) -> tuple[Any, ...]:
        if state is None:
            return (None,) * self.depth
        if not isinstance(state, tuple) or len(state) != self.depth:
            came = f"{len(state)} states" if isinstance(state, (tuple, list)) else type(state).__name__
            raise ValueError(f"Backbone: expected state as a tuple of {self.depth} states (one a layer), got {came}")
        return state

    def extra_repr(self) -> str:
        return f"width={self.width}, depth={self.depth}"
