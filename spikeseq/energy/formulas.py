"""Energy at 45 nm by formula: the PRF paper's count of a layer, and an S4D layer beside it."""

from __future__ import annotations

# joule an operation, 32-bit floating point in 45 nm CMOS (Horowitz, ISSCC 2014)
MULTIPLY = 3.7e-12
ACCUMULATE = 0.9e-12
MAC = 4.6e-12


def paper_layer_energy(
    width: int,
    token_rate: float,
    channel_rate: float | None,
    multiplies: int | None = None,
    accumulates: int | None = None,
) -> float:
    """Joule of one SD-TCM layer and step by the PRF paper's formula (arXiv 2410.03530), D = width:

        3.7 pJ * 5 D + 0.9 pJ * 3 D + 0.9 pJ * (R_token D^2 + D) + 0.9 pJ * (R_channel D^2 + D)

    Rates are spikes per neuron and step, in 0..1 for binary neurons. channel_rate None: no channel mixer.
    multiplies, accumulates: the neuron's own arithmetic a step, the PRF's 5 D and 3 D unless given.
    """
    joule = MULTIPLY * (5 * width if multiplies is None else multiplies)
    joule += ACCUMULATE * (3 * width if accumulates is None else accumulates)
    for rate in (token_rate, channel_rate):
        if rate is not None:
            joule += ACCUMULATE * (rate * width**2 + width)
    return joule


S4D_STATES = 64  # real numbers of state a channel, 32 complex pairs: the S4D paper's own size


def s4d_channel_energy(states: int = S4D_STATES) -> float:
    """Joule of one channel and step of a diagonal state-space layer: `z = A z + u; y = 2 Re(C z) + D u`, no spikes.

    A complex pair costs 4 multiplies and 2 accumulates for A z, one accumulate for u, 2 multiplies and 2 accumulates
    for Re(C z); D u costs one of each. Source: S4D, arXiv 2206.11893.
    """
    pairs = states // 2
    return MULTIPLY * (6 * pairs + 1) + ACCUMULATE * (5 * pairs + 1)
