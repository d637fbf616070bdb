"""The recurrent core of a policy: a stack of spiking neurons that answers like `nn.LSTM`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeseq.blocks import SDTCM
from spikeseq.neurons import Neuron

from .layers import Layer, streaming_block
from .planes import Planes
from .timing import spread, time_constants

State = tuple[Tensor, ...]  # two float32 tensors [layers, envs, hidden_size], as Stable-Baselines3 keeps them


class SpikingCore(nn.Module):
    """`num_layers` of Linear and spiking neurons; one step in the environment, all steps at once in training.

        out, (a, b) = core(x, (a, b), starts)             x [time, envs, input_size], starts bool [time, envs]
        out, (a, b) = core.sequence(x, (a, b), starts)    x [batch, time, input_size], starts bool [batch, time]

    out has `width` channels. `starts` marks steps that begin an episode with a fresh state. `readout` is what the last
    layer gives: "spikes", or "membrane" for its membrane potential; the layers before it always give spikes.

    neuron: "PRF" (the default: of the three it is the one that learns from masked observations), "LIF" or "DSN", with
    `neuron_options` for its class. time_constants: (shortest, longest) in steps, see `timing.spread`. dropout acts
    between layers, as in nn.LSTM, and in training only, where it breaks the equality with acting.

    sdtcm: given options of `spikeseq.blocks.SDTCM`, even {}, the layers are SD-TCM blocks behind one Linear; their
    norm is "layer" or "none", and out is their last stream, normalised, where plain layers give the readout.

    State: two float32 tensors [num_layers, envs, hidden_size], all zeros for a fresh start; see `Planes`.
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
        sdtcm: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("input_size", input_size), ("width", width), ("num_layers", num_layers)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"SpikingCore: expected {name} as a whole number >= 1, got {value!r}")
        if readout not in ("spikes", "membrane"):
            raise ValueError(f"SpikingCore: expected readout 'spikes' or 'membrane', got {readout!r}")
        if sdtcm is not None and readout != "spikes":
            raise ValueError(f"SpikingCore: sdtcm gives its stream, so expected no readout, got {readout!r}")
        options = dict(neuron_options or {})
        if "output" in options:
            raise ValueError(
                "SpikingCore: the output of the last layer is `readout`; leave 'output' out of neuron_options"
            )
        self.input_size, self.width, self.num_layers = input_size, width, num_layers
        self.neuron, self.readout, self.sdtcm = neuron, readout, sdtcm

        def make(width: int, output: str = "spikes") -> Neuron:
            return spread(neuron, width, time_constants, {**options, "output": output})

        self.layers = nn.ModuleList()
        for index in range(num_layers):
            if sdtcm is not None:
                self.layers.append(streaming_block(width, make, dropout, sdtcm))
                continue
            made = make(width, readout if index == num_layers - 1 else "spikes")
            self.layers.append(Layer(width, made, dropout) if index else Layer(input_size, made))
        first = self.layers[0]
        blocks = isinstance(first, SDTCM)
        self.encoder = nn.Linear(input_size, width) if blocks else nn.Identity()
        self.final_norm = first.final_norm() if blocks else nn.Identity()
        self._planes = Planes(self.layer(0).initial_state(1), width)
        self.hidden_size = self._planes.hidden_size

    def layer(self, index: int) -> Neuron:
        """The neurons of a layer."""
        neuron = self.layers[index].neuron
        assert isinstance(neuron, Neuron)
        return neuron

    def spiking_layers(self) -> list[Neuron]:
        """The neurons whose output is spikes: all, but those of a membrane readout."""
        return [self.layer(index) for index in range(self.num_layers - (self.readout == "membrane"))]

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
        out, ends = self.encoder(x.squeeze(1) if serial else x), []
        for index, layer in enumerate(self.layers):
            begin = self._planes.joined(first[index], second[index])
            try:
                out, end = layer.step(out, begin) if serial else layer(out, begin, starts)  # pyright: ignore
            except ValueError as error:
                _explain(x, first, second, error)
                raise
            ends.append(self._planes.halves(end))
        out = self.final_norm(out)
        out = out.unsqueeze(1) if serial else out
        if len(ends) == 1:
            return out, (ends[0][0].unsqueeze(0), ends[0][1].unsqueeze(0))
        return out, (torch.stack([a for a, _ in ends]), torch.stack([b for _, b in ends]))

    def time_constants(self) -> Tensor:
        """Steps in which each membrane falls to 1/e, [num_layers, width]; of a DSN, while its inputs are 0."""
        return torch.stack([time_constants(self.layer(index)) for index in range(self.num_layers)])

    def get_extra_state(self) -> dict[str, Any]:
        """What a saved model says about its own architecture."""
        names = ("neuron", "input_size", "width", "num_layers", "readout", "sdtcm")
        return {name: getattr(self, name) for name in names}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        here = self.get_extra_state()
        if state != here:
            raise ValueError(f"SpikingCore: the saved model has another architecture: expected {here}, got {state}")

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, width={self.width}, readout={self.readout!r}"


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
