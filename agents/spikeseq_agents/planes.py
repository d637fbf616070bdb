"""A neuron's state as the two tensors that Stable-Baselines3 carries."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from spikeseq.neurons import State as NeuronState


class Planes:
    """Cuts states like `template`, of any batch, into real planes [batch, width], and puts them together again.

    PRF: real, imaginary; LIF: membrane; DSN: membrane and past inputs. The first half of the planes lies in the first
    tensor [batch, hidden_size], the others in the second, an odd one beside zeros; hidden_size is a multiple of width.
    """

    def __init__(self, template: NeuronState, width: int) -> None:
        self.template, self.width = template, width
        self.count = len(_cut(template))
        self.hidden_size = (self.count + 1) // 2 * width

    def halves(self, state: NeuronState) -> tuple[Tensor, Tensor]:
        planes = _cut(state)
        if len(planes) % 2:
            planes.append(torch.zeros_like(planes[0]))
        half = len(planes) // 2
        return _join(planes[:half]), _join(planes[half:])

    def joined(self, first: Tensor, second: Tensor) -> NeuronState:
        """The inverse of `halves`."""
        planes = [*first.split(self.width, -1), *second.split(self.width, -1)]
        return _pasted(self.template, planes[: self.count])


def _cut(state: NeuronState) -> list[Tensor]:
    """Real tensors [batch, width] that together hold a neuron's state."""
    planes: list[Tensor] = []
    for leaf in pytree.tree_leaves(state):
        if leaf.is_complex():
            planes += [leaf.real, leaf.imag]
        else:
            planes += leaf.unbind(1) if leaf.ndim == 3 else [leaf]
    return planes


def _pasted(template: NeuronState, planes: list[Tensor]) -> NeuronState:
    """The inverse of `_cut`, for a state built like `template`."""
    rest = iter(planes)

    def paste(leaf: Tensor) -> Tensor:
        if leaf.is_complex():
            return torch.complex(next(rest), next(rest))
        if leaf.ndim == 3:
            past = [next(rest) for _ in range(leaf.shape[1])]
            return torch.stack(past, 1) if past else leaf.expand(len(planes[0]), *leaf.shape[1:])
        return next(rest)

    return pytree.tree_map(paste, template)


def _join(planes: list[Tensor]) -> Tensor:
    return planes[0] if len(planes) == 1 else torch.cat(planes, -1)
