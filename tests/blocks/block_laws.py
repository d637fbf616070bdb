"""Models with lively neurons and used norms, for the laws of blocks."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from spikeseq.blocks import MaskedBatchNorm
from spikeseq.neurons import Neuron

Model = TypeVar("Model", bound=nn.Module)
LAWS = settings(deadline=None, max_examples=40)

# Options under which each neuron fires at a few to some tens of per cent, so that spikes matter to the outputs.
NEURONS: dict[str, dict[str, Any]] = {
    "PRF": {"dt_min": 0.3, "dt_max": 1.0, "threshold": 0.4},
    "LIF": {"decay": 0.8, "threshold": 0.7},
    "DSN": {},
    "SlidingPSN": {"order": 3},
}
neurons = st.sampled_from(sorted(NEURONS))
seeds = st.integers(0, 2**16)
shapes = st.tuples(st.integers(1, 3), st.integers(2, 9))  # batch, time


def options(neuron: str, **more: Any) -> dict[str, Any]:
    return {"neuron": neuron, "neuron_options": NEURONS[neuron], **more}


def used(model: Model, dtype: torch.dtype = torch.float64) -> Model:
    """The model in eval mode, with norms and alphas that are no longer at their first values."""
    for module in model.modules():
        if isinstance(module, MaskedBatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.2)
    for name, parameter in model.named_parameters():
        if name.endswith("log_alpha"):
            nn.init.constant_(parameter, -0.4)
    return model.to(dtype).eval()


def spike_counts(model: nn.Module, *inputs: Any) -> list[float]:
    """Sum of spikes of each neuron in one pass, to show that a law is not kept by silence."""
    counts: list[float] = []

    def count(_module: nn.Module, _inputs: Any, output: tuple[Tensor, Any]) -> None:
        counts.append(float(output[0].sum()))

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, Neuron)]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return counts
