"""Other libraries on their best footing, where they are installed: never dependencies.

spikingjelly runs in multi-step mode with its torch backend, on input that is time-first before the clock starts.
snntorch, norse and sinabs have single steps and are walked over `unbind`: the loops of norse's and sinabs' own layers
index `x[:, t]`, which is quadratic under autograd. Of norse it is the LIF without a synaptic current, its cheapest. All
detach the reset, as ours do, but norse, whose reset methods do not. s5-pytorch gives its parallel scan alone.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn, stack, zeros_like

# What is imported -> what pip installs. Beside a CPU build of torch spikingjelly (with loguru) and norse (with nir,
# nirtorch) want --no-deps: the registry's torchvision does not load on it.
PACKAGES = {
    "spikingjelly": "spikingjelly",
    "snntorch": "snntorch",
    "norse": "norse",
    "sinabs": "sinabs",
    "s5": "s5-pytorch",
}


def missing(name: str) -> str | None:
    """Why this method cannot run, or None. Methods that are no peers are never missing."""
    return f"{PACKAGES[name]} is not installed" if name in PACKAGES and find_spec(name) is None else None


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


class NorseLIF(nn.Module):
    """norse's LIFBox over the steps of x [batch, time, width].

    It scales its input, `u = decay u + (1 - decay) x`; with the threshold scaled alike the spikes are those of ours
    with `strict`.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.norse: Any = import_module("norse.torch.functional.lif_box")
        rest = torch.tensor(1 - decay)
        reset = import_module("norse.torch.functional.reset").reset_subtract
        self.options = self.norse.LIFBoxParameters(tau_mem_inv=rest, v_th=rest, reset_method=reset)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = self.norse.LIFBoxFeedForwardState(v=zeros_like(x[:, 0]))
        spikes = []
        for x_t in x.unbind(1):
            spike, state = self.norse.lif_box_feed_forward_step(x_t, state, self.options, dt=1.0)
            spikes.append(spike)
        return stack(spikes, 1), state.v


class SinabsLIF(nn.Module):
    """The step of sinabs' LIF over the steps of x [batch, time, width]."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.step: Any = import_module("sinabs.layers.functional.lif").lif_forward_single
        self.activation: Any = import_module("sinabs.activation")
        self.decay = decay

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = {"v_mem": zeros_like(x[:, 0])}
        subtract, surrogate = self.activation.MembraneSubtract(), self.activation.SingleExponential()

        def reset(spikes: Tensor, state: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
            return subtract(spikes.detach(), state, threshold)

        spikes = []
        for x_t in x.unbind(1):
            spike, state = self.step(
                x_t, self.decay, None, state, 1.0, self.activation.SingleSpike, reset, surrogate,
                min_v_mem=None, norm_input=False,
            )  # fmt: skip
            spikes.append(spike)
        return stack(spikes, 1), state["v_mem"]


def s5_scan(x: Tensor, decay: Tensor) -> Tensor:
    """s5's `z_t = decay z_{t-1} + x_t` by its associative scan over time. x: [batch, time, width], decay: [width]."""
    s5: Any = import_module("s5.s5_model")
    powers = decay.expand(1, x.shape[1], -1)  # one row, which its combination spreads over the batch
    return s5.associative_scan(s5.binary_operator, (powers, x.to(decay.dtype)), axis=1)[1]
