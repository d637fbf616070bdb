"""Time constants, in steps: how they are spread over a layer at the start, and what they are later.

A policy remembers for as long as its slowest neurons do, so a layer begins with time constants log-uniform in
(shortest, longest) steps instead of one value. `unit_variance_gain` makes their membranes equally large.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from spikeseq.neurons import DSN, LIF, PRF, Neuron, make

NEURONS = ("PRF", "LIF", "DSN")
_TAKEN = {"PRF": ("dt_min", "dt_max"), "LIF": ("decay",), "DSN": ()}


def spread(neuron: str, width: int, time_constants: tuple[float, float], options: dict[str, Any]) -> Neuron:
    """A layer of "PRF", "LIF" or "DSN" neurons whose membranes forget over (shortest, longest) steps, and learn to.

    The time constant c of a membrane is the number of steps in which it falls to 1/e: |decay| = exp(-1/c). PRF: by
    its dt, and tau is trained; LIF: by its decays, which are trained; DSN: by the bias of its gate, so this is its
    decay while the inputs are 0.
    """
    if neuron not in NEURONS:
        raise ValueError(f"SpikingCore: expected neuron to be one of {NEURONS}, got {neuron!r}")
    try:
        shortest, longest = (float(value) for value in time_constants)
    except (TypeError, ValueError):
        raise ValueError(f"SpikingCore: expected time_constants as (shortest, longest), got {time_constants}") from None
    if not 0 < shortest <= longest < math.inf:
        raise ValueError(
            f"SpikingCore: expected time_constants 0 < shortest <= longest, in steps, got {time_constants}"
        )
    taken = [name for name in _TAKEN[neuron] if name in options]
    if taken:
        raise ValueError(f"SpikingCore: time_constants sets {taken} of {neuron}, so neuron_options must not")
    if neuron == "PRF":
        tau = options.get("tau", 2.0)
        spread_dt = {"tau": tau, "dt_min": tau / longest, "dt_max": tau / shortest}
        return make("PRF", width, **{"train_tau": True, **options, **spread_dt})
    constants = torch.empty(width).uniform_(math.log(shortest), math.log(longest)).exp_()
    if neuron == "LIF":
        return make("LIF", width, **{"train_decay": True, **options, "decay": torch.exp(-1 / constants)})
    made = make("DSN", width, **options)
    assert isinstance(made, DSN)
    with torch.no_grad():
        opening = torch.exp(-made.tau / constants)  # sigmoid(bias)^(1/tau) = exp(-1/c)
        made.bias.copy_(torch.logit(opening))
    return made


def decay_and_gain(neuron: Neuron) -> tuple[Tensor, Tensor]:
    """|decay| per step and the gain of the input, each [width]; of a DSN, while its inputs are 0."""
    if isinstance(neuron, PRF):
        decay, gain = neuron.coefficients()
        return decay.abs(), gain
    if isinstance(neuron, LIF):
        decay = neuron.decay.expand(neuron.width)
        return decay, torch.full_like(decay, neuron.input_gain)
    if isinstance(neuron, DSN):
        decay = torch.sigmoid(neuron.bias) ** (1 / neuron.tau)
        return decay, 1 - decay
    raise TypeError(f"expected one of {NEURONS}, got {type(neuron).__name__}")


def time_constants(neuron: Neuron) -> Tensor:
    """Steps in which each membrane falls to 1/e, [width]."""
    with torch.no_grad():
        return -1 / torch.log(decay_and_gain(neuron)[0])


def unit_variance_gain(neuron: Neuron) -> Tensor:
    """The factor on the input, [width], under which white noise of variance 1 gives a membrane of variance 1.

    Var(z) = gain^2 / (1 - |decay|^2) for z_t = decay z_{t-1} + gain x_t.
    """
    with torch.no_grad():
        decay, gain = decay_and_gain(neuron)
        return (1 - decay.square()).sqrt() / gain
