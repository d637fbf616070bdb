"""What modules do besides products: neurons, norms, sums, pools, and the attention between spikes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..blocks.attention import SpikeAttention
from ..blocks.block import Block
from ..blocks.heads import ValidMean
from ..blocks.norm import Affine
from ..blocks.over_time import SpikingResidual
from ..blocks.sdtcm import SpatialNeuron
from ..neurons import Neuron
from .values import classify, less_spiking

Valid = Callable[[Tensor], Tensor]  # a tensor without its padded steps
Counted = tuple[str, str, dict[str, Any]]  # kind, shape, counts, as `Event` has them


def count_module(module: nn.Module, inputs: tuple[Any, ...], output: Any, valid: Valid) -> Iterator[Counted]:
    """What one call of `module` did; nothing for modules whose products are seen as they happen."""
    name = type(module).__name__
    out = output[0] if isinstance(output, tuple) else output
    if isinstance(module, (Neuron, SpatialNeuron)):
        yield _neuron(module, valid(out))
    elif isinstance(module, SpikeAttention):
        yield from _attention(module, *(valid(x) for x in inputs[:3]))
    elif isinstance(module, (_BatchNorm, Affine)):
        size = valid(out).numel()
        yield "norm", name, {"multiplies": size, "accumulates": size}
    elif isinstance(module, nn.LayerNorm):
        size = valid(out).numel()  # mean; deviation, square, sum; scale; weight, bias
        yield "norm", name, {"multiplies": 3 * size, "accumulates": 4 * size}
    elif isinstance(module, Block):
        adds = module.residual_sums
        yield "residual", f"{adds} x {module.width}", {"accumulates": adds * valid(out).numel()}
    elif isinstance(module, SpikingResidual):
        yield "residual", f"1 x {out.shape[2]}", {"accumulates": out.numel()}
    elif isinstance(module, ValidMean | nn.AvgPool1d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        yield "mean", name, {"multiplies": out.numel(), "accumulates": valid(inputs[0]).numel()}
    elif isinstance(module, nn.GLU):  # a * sigmoid(b): a product of two activations, one multiply a value
        yield "gate", name, {"multiplies": valid(out).numel(), "values": classify(valid(inputs[0]))}
    elif isinstance(module, nn.Embedding):
        yield "lookup", f"{module.num_embeddings} x {module.embedding_dim}", {}


def _neuron(module: Neuron | SpatialNeuron, spikes: Tensor) -> Counted:
    values, levels, cost = classify(spikes), None, {"multiplies": 0, "accumulates": 0}
    if isinstance(module, Neuron):
        levels, cost = module.levels, module.dynamics_cost()
    steps = values.elements / spikes.shape[-1]
    counts = {key: steps * cost[key] for key in ("multiplies", "accumulates")}
    return "neuron", type(module).__name__, {"values": values, "levels": levels, **counts}


def _attention(module: SpikeAttention, q: Tensor, k: Tensor, v: Tensor) -> Iterator[Counted]:
    """The recurrent form, step by step: a spike of k meets every spike of v; a spike of q reads a row of M.

    The decay of M costs a multiply an entry where it is not 1. A bidirectional layer does all of it twice.
    """
    size = module.width // module.heads
    passes = 1 + module.bidirectional
    read, key, value = classify(q), classify(k), classify(v)
    per_head = [x.unflatten(-1, (module.heads, size)).abs().sum(-1).double() for x in (k, v)]
    pairs = float((per_head[0] * per_head[1]).sum()) / (key.scale * value.scale)
    macs = passes * q.numel() * size
    kept = passes * q.numel() // q.shape[-1] * size**2 * int((module.decay != 1).sum())
    shape = f"{module.heads} x {size} x {size}"
    yield "attention", f"k^T v, {shape}", {
        "macs": macs, "spike_accumulates": passes * pairs, "multiplies": kept,
        "values": replace(less_spiking(key, value), total=key.total, elements=key.elements),
    }  # fmt: skip
    yield "attention", f"q M, {shape}", {
        "macs": macs, "spike_accumulates": passes * read.total * size, "values": read,
    }  # fmt: skip
