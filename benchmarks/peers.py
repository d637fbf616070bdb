"""Other libraries on their best footing, where they are installed: never dependencies.

spikingjelly runs in multi-step mode with its torch backend, on input that is time-first before the clock starts;
snntorch, which has single steps only, walks over `unbind`. Both detach the reset and use the atan(2) surrogate, as
ours do.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn, stack, zeros_like

NAMES = ("spikingjelly", "snntorch")


def missing(name: str) -> str | None:
    """Why this method cannot run, or None. Methods that are no peers are never missing."""
    return f"{name} is not installed" if name in NAMES and find_spec(name) is None else None


class SpikingJelly(nn.Module):
    """A multi-step neuron of spikingjelly on x [time, batch, width]."""

    def __init__(self, neuron: nn.Module) -> None:
        super().__init__()
        self.neuron = neuron
        self.reset: Any = import_module("spikingjelly.activation_based.functional").reset_net

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        spikes = self.neuron(x)
        self.reset(self.neuron)  # it keeps its state inside
        return spikes, None


def spikingjelly_lif(decay: float) -> nn.Module:
    neuron: Any = import_module("spikingjelly.activation_based.neuron")
    surrogate: Any = import_module("spikingjelly.activation_based.surrogate")
    options = {"decay_input": False, "v_reset": None, "detach_reset": True, "step_mode": "m"}
    return SpikingJelly(neuron.LIFNode(tau=1 / (1 - decay), surrogate_function=surrogate.ATan(alpha=2.0), **options))


def spikingjelly_psn(steps: int) -> nn.Module:
    neuron: Any = import_module("spikingjelly.activation_based.neuron")
    surrogate: Any = import_module("spikingjelly.activation_based.surrogate")
    return SpikingJelly(neuron.PSN(T=steps, surrogate_function=surrogate.ATan(alpha=2.0)))


class SnnTorchLIF(nn.Module):
    """snntorch's Leaky over the steps of x [batch, time, width]. Its reset comes one step late: rho = 1 / beta."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        snntorch: Any = import_module("snntorch")
        self.neuron = snntorch.Leaky(beta=decay)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        membrane = zeros_like(x[:, 0])
        spikes = []
        for x_t in x.unbind(1):
            spike, membrane = self.neuron(x_t, membrane)
            spikes.append(spike)
        self.neuron.mem = membrane.detach()  # its buffer would hold the whole graph until the next call
        return stack(spikes, 1), membrane
