"""Spiking neurons: modules that own their parameters and never their state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .base import Neuron as Neuron
from .base import State as State
from .base import detach as detach
from .dsn import DSN as DSN
from .lif import LIF as LIF
from .prf import PRF as PRF
from .psn import PSN as PSN
from .psn import MaskedPSN as MaskedPSN
from .psn import SlidingPSN as SlidingPSN

NEURONS: dict[str, type[Neuron]] = {n.__name__: n for n in (LIF, PRF, DSN, PSN, MaskedPSN, SlidingPSN)}


def make(neuron: str | Callable[..., Neuron], width: int, **options: Any) -> Neuron:
    """A neuron by name ("PRF") or from a factory `factory(width, **options)`, such as a class.

    Raises ValueError for an unknown name and TypeError for options that the neuron does not take.
    """
    if isinstance(neuron, str):
        if neuron not in NEURONS:
            raise ValueError(f"unknown neuron {neuron!r}: expected one of {tuple(NEURONS)}")
        neuron = NEURONS[neuron]
    if isinstance(neuron, Neuron) or not callable(neuron):
        raise TypeError(f"expected a neuron's name or a factory (each layer owns its neuron), got {neuron!r}")
    try:
        made = neuron(width, **options)
    except TypeError as error:
        raise TypeError(f"neuron {getattr(neuron, '__name__', neuron)!r} with options {options}: {error}") from error
    if not isinstance(made, Neuron):
        raise TypeError(f"expected the factory to give a spikeseq Neuron, got {type(made).__name__}")
    return made
