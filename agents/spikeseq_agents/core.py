"""The recurrent core of a policy: a stack of spiking neurons that answers like `nn.LSTM`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from spikeseq.neurons import Neuron
from spikeseq.neurons import State as NeuronState

from .timing import spread, time_constants, unit_variance_gain

State = tuple[Tensor, ...]  # two float32 tensors [layers, envs, hidden_size], as Stable-Baselines3 keeps them


DRIVE = 2.0  # deviation of a membrane at the start, in thresholds, on inputs of variance 1: a third of the steps spike


class Mixer(nn.Linear):
    """`scale * (W x + b)`, scale [outputs] fixed: slow neurons need large inputs, which steps of Adam's size on W alone
    would hardly move."""

    scale: Tensor

    def __init__(self, inputs: int, outputs: int, scale: Tensor) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("scale", scale)

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.linear(input, self.scale.unsqueeze(-1) * self.weight, self.scale * self.bias)


class SpikingCore(nn.Module):
    """`num_layers` of Linear and spiking neurons; one step in the environment, all steps at once in training.

        out, (a, b) = core(x, (a, b), starts)             x [time, envs, input_size], starts bool [time, envs]
        out, (a, b) = core.sequence(x, (a, b), starts)    x [batch, time, input_size], starts bool [batch, time]

    out has `width` channels. `starts` marks steps that begin an episode with a fresh state. `readout` is what the last
    layer gives: "spikes", or "membrane" for its membrane potential; the layers before it always give spikes.

    neuron: "PRF" (the default: of the three it is the one that learns from masked observations), "LIF" or "DSN", with
    `neuron_options` for its class. time_constants: (shortest, longest) in steps, see `timing.spread`. dropout acts
    between layers, as in nn.LSTM, and in training only, where it breaks the equality with acting.

    State: two float32 tensors [num_layers, envs, hidden_size], all zeros for a fresh start. A neuron's state is cut
    into planes of `width` numbers (PRF: real, imaginary; LIF: membrane; DSN: membrane and past inputs); the first half
    of the planes lies in the first tensor, the others in the second. So hidden_size is a multiple of width.
    """

    def __init__(
        self,
        input_size: int,
        width: int,
        num_layers: int = 1,
        *,
        neuron: str = "PRF",
        neuron_options: dict[str, Any] | None = None,
        time_constants: tuple[float, float] = (1.0, 200.0),
        readout: str = "spikes",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("width", width), ("num_layers", num_layers)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"SpikingCore: expected {name} as a whole number >= 1, got {value!r}")
        if readout not in ("spikes", "membrane"):
            raise ValueError(f"SpikingCore: expected readout 'spikes' or 'membrane', got {readout!r}")
        options = dict(neuron_options or {})
        if "output" in options:
            raise ValueError(
                "SpikingCore: the output of the last layer is `readout`; leave 'output' out of neuron_options"
            )
        self.input_size, self.width, self.num_layers = input_size, width, num_layers
        self.neuron, self.readout, self.dropout = neuron, readout, dropout
        self.mixers = nn.ModuleList()
        self.neurons = nn.ModuleList()
        for layer in range(num_layers):
            last = layer == num_layers - 1
            made = spread(neuron, width, time_constants, {**options, "output": readout if last else "spikes"})
            # nn.Linear's uniform weights have variance 1 / (3 fan_in)
            scale = DRIVE * 3**0.5 * unit_variance_gain(made)
            self.mixers.append(Mixer(width if layer else input_size, width, scale))
            self.neurons.append(made)
        self._template: NeuronState = self.layer(0).initial_state(1)
        self._planes = len(_cut(self._template))
        self.hidden_size = (self._planes + 1) // 2 * width

    def layer(self, index: int) -> Neuron:
        neuron = self.neurons[index]
        assert isinstance(neuron, Neuron)
        return neuron

    def initial_state(self, envs: int) -> State:
        zeros = torch.zeros(self.num_layers, envs, self.hidden_size, device=next(self.parameters()).device)
        return zeros, zeros.clone()  # two tensors: torch.export takes one given twice for one input

    def forward(self, x: Tensor, state: State | None = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        """Time first, as nn.LSTM: x [time, envs, input_size], starts bool [time, envs] -> out [time, envs, width]."""
        out, state = self.sequence(x.transpose(0, 1), state, None if starts is None else starts.transpose(0, 1))
        return out.transpose(0, 1), state

    def sequence(self, x: Tensor, state: State | None = None, starts: Tensor | None = None) -> tuple[Tensor, State]:
        """Batch first: x [batch, time, input_size], starts bool [batch, time] -> out [batch, time, width]."""
        if x.ndim != 3 or x.shape[-1] != self.input_size:
            raise ValueError(
                f"SpikingCore: expected x [batch, time, input_size = {self.input_size}], got {tuple(x.shape)}"
            )
        first, second = state if state is not None else self.initial_state(x.shape[0])
        expected = (self.num_layers, x.shape[0], self.hidden_size)
        if tuple(first.shape) != expected or tuple(second.shape) != expected:
            raise ValueError(
                f"SpikingCore: expected a state of two tensors {expected}, got {tuple(first.shape)} and "
                f"{tuple(second.shape)}; a state belongs to one model and one number of environments"
            )
        serial = x.shape[1] == 1
        if serial and starts is not None:  # the serial step takes no starts
            keep = (~starts).to(first.dtype).unsqueeze(0)
            first, second = first * keep, second * keep
        out, ends = x.squeeze(1) if serial else x, []
        for index, mixer in enumerate(self.mixers):
            if index and self.dropout:
                out = nn.functional.dropout(out, self.dropout, self.training)
            neuron, begin = self.layer(index), self._joined(first[index], second[index])
            try:
                out, end = neuron.step(mixer(out), begin) if serial else neuron(mixer(out), begin, starts)
            except ValueError as error:
                _explain(x, first, second, error)
                raise
            ends.append(self._halves(end))
        out = out.unsqueeze(1) if serial else out
        if len(ends) == 1:
            return out, (ends[0][0].unsqueeze(0), ends[0][1].unsqueeze(0))
        return out, (torch.stack([a for a, _ in ends]), torch.stack([b for _, b in ends]))

    def time_constants(self) -> Tensor:
        """Steps in which each membrane falls to 1/e, [num_layers, width]; of a DSN, while its inputs are 0."""
        return torch.stack([time_constants(self.layer(index)) for index in range(self.num_layers)])

    def _halves(self, state: NeuronState) -> State:
        """A neuron's state as the two tensors [batch, hidden_size]."""
        planes = _cut(state)
        if len(planes) % 2:
            planes.append(torch.zeros_like(planes[0]))
        half = len(planes) // 2
        return _join(planes[:half]), _join(planes[half:])

    def _joined(self, first: Tensor, second: Tensor) -> NeuronState:
        """The inverse of `_halves`."""
        planes = [*first.split(self.width, -1), *second.split(self.width, -1)]
        return _pasted(self._template, planes[: self._planes])

    def get_extra_state(self) -> dict[str, Any]:
        """What a saved model says about its own architecture."""
        names = ("neuron", "input_size", "width", "num_layers", "readout")
        return {name: getattr(self, name) for name in names}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        here = self.get_extra_state()
        if state != here:
            raise ValueError(f"SpikingCore: the saved model has another architecture: expected {here}, got {state}")

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, width={self.width}, readout={self.readout!r}"


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


def _explain(x: Tensor, first: Tensor, second: Tensor, error: ValueError) -> None:
    """Say it where a neuron met NaN because the environment gave it, or because the network holds it already."""
    named = {"features": ("[sequence, step, feature]", (x,)), "state": ("[layer, env, channel]", (first, second))}
    for name, axes, value in ((name, axes, value) for name, (axes, values) in named.items() for value in values):
        wrong = (~torch.isfinite(value)).nonzero()
        if len(wrong):
            at = wrong[0].tolist()
            raise ValueError(
                f"SpikingCore: expected finite {name}, got {value[tuple(at)].item()} at {axes} = {at}. Either the "
                "environment gave NaN or infinity (look with VecCheckNan) or the features extractor has diverged"
            ) from error
