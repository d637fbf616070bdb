"""What a model computes on real data: every matrix product and convolution, every neuron, norm and sum, counted.

`trace` runs a model once in eval mode without gradients. Module hooks tell where the run is, a dispatch mode sees each
product that PyTorch executes, inside a module or called as a function. Products done inside a `Neuron` are its
dynamics and are marked so. Steps beyond `lengths` are left out wherever the batch lies as [batch, time, ...] or
[batch * time, ...]; other layouts are counted whole.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..blocks.attention import SpikeAttention
from ..blocks.block import Block
from ..blocks.over_time import MapNeuron, SpikingLayers
from ..blocks.padding import Padding, as_padding
from ..neurons import Neuron
from .modules import count_module
from .values import Values, classify, less_spiking

BLOCKS = (Block, SpikingLayers)
PRODUCTS = ("linear", "matmul", "convolution", "attention", "gate")  # the kinds of events that are products
COUNTS = ("macs", "spike_accumulates", "multiplies", "accumulates")
# products and the position of their first factor; a bias may stand before it
_MATMULS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}


@dataclass
class Event:
    """One thing a model did, summed over the batch. part: "encoder", "block", "head", or "model" without blocks."""

    name: str
    part: str
    kind: str  # linear, matmul, convolution, attention, gate, neuron, norm, residual, mean or lookup
    shape: str
    macs: float = 0.0  # multiply-accumulates of the dense product
    spike_accumulates: float = 0.0  # what spikes make of them: one accumulate a spike and target, v for a spike v
    multiplies: float = 0.0
    accumulates: float = 0.0
    values: Values | None = None  # a product's input, a neuron's output
    levels: int | None = None
    dynamics: bool = False  # a product inside a neuron


@dataclass
class Trace:
    """All events in order, and the size of the batch: samples, sequences (documents), mean valid steps a sequence."""

    events: list[Event]
    samples: int
    sequences: int
    steps: float


def _sum(a: Event, b: Event) -> Event:
    """Two runs of the same thing as one event; the less spike-like values decide its kind."""
    values = None
    if a.values is not None and b.values is not None:
        worst = less_spiking(a.values, b.values)
        total, elements = a.values.total + b.values.total, a.values.elements + b.values.elements
        values = replace(worst, total=total, elements=elements)
    added = {name: getattr(a, name) + getattr(b, name) for name in COUNTS}
    return replace(a, values=values, **added)


def trace(model: nn.Module, batch: Tensor | tuple[Tensor, Tensor | None]) -> Trace:
    """Run `model(x)` or `model(x, lengths=lengths)` once and record it; training modes are put back afterwards."""
    x, lengths = batch if isinstance(batch, tuple) else (batch, None)
    if not isinstance(x, Tensor) or not (lengths is None or isinstance(lengths, Tensor)):
        raise TypeError("expected batch as a tensor x or a tuple (x, lengths)")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"expected a batch of at least one sample and one step, got {list(x.shape)}")
    padding = None
    if lengths is not None:
        padding = as_padding(lengths.flatten(), x.shape[: lengths.ndim].numel(), x.shape[lengths.ndim])
    recorder = _Recorder(model, padding)
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(setattr, module, "training", module.training)
            stack.callback(module.register_forward_pre_hook(recorder.enter(name)).remove)
            stack.callback(module.register_forward_hook(recorder.leave()).remove)
        model.eval()
        with torch.no_grad(), recorder:
            model(x) if lengths is None else model(x, lengths=lengths)
    sequences, steps = recorder.layout or (x.shape[0], x.shape[1])
    if padding is not None:
        sequences, steps = len(padding.lengths), float(padding.lengths.double().mean())
    return Trace(list(recorder.events.values()), x.shape[0], sequences, float(steps))


class _Recorder(TorchDispatchMode):
    """Collects events; `where` is the stack of modules being run."""

    def __init__(self, model: nn.Module, padding: Padding | None) -> None:
        super().__init__()
        self.padding = padding
        self.events: dict[tuple[str, str, str], Event] = {}
        self.where: list[tuple[str, nn.Module]] = []
        self.layout: tuple[int, int] | None = None  # sequences and steps, as the first neuron sees them
        self.has_blocks = any(isinstance(module, BLOCKS) for module in model.modules())
        self.met_block = False
        self.weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}

    def enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.where.append((name, module))
            if self.layout is None and isinstance(module, (Neuron, MapNeuron)):
                self.layout = (inputs[0].shape[0], inputs[0].shape[1])
            self.met_block = self.met_block or isinstance(module, BLOCKS)

        return hook

    def leave(self) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            for kind, shape, counts in count_module(module, inputs, output, self.valid):
                self.add(kind, shape, **counts)
            self.where.pop()

        return hook

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if self.where and not any(isinstance(module, SpikeAttention) for _, module in self.where):
            self._product(func, args, output)
        return output

    @property
    def part(self) -> str:
        if not self.has_blocks:
            return "model"
        if any(isinstance(module, BLOCKS) for _, module in self.where):
            return "block"
        return "head" if self.met_block else "encoder"

    def valid(self, x: Tensor) -> Tensor:
        """`x` without padded steps: [n, ...] where it lies as [batch, time, ...] or [batch * time, ...]."""
        if self.padding is None:
            return x
        mask = self.padding.mask
        if x.shape[:2] == mask.shape:
            return x[mask]
        return x[mask.flatten()] if x.shape[:1] == (mask.numel(),) else x

    def add(self, kind: str, shape: str, **counts: Any) -> None:
        name = self.where[-1][0] or "model"
        event = Event(name, self.part, kind, shape, **counts)
        key = (name, kind, shape)
        if key in self.events:
            event = _sum(self.events[key], event)
        self.events[key] = event

    def _product(self, func: Any, args: Any, output: Any) -> None:
        """Count `func` if it is a matrix product, a convolution or a fused attention."""
        name = func.overloadpacket.__name__
        if name == "convolution":
            self._convolution(func, args, output)
        elif name in _MATMULS:
            first, second = args[_MATMULS[name] : _MATMULS[name] + 2]
            bias = self.valid(output).numel() if _MATMULS[name] else 0
            self._matmul(first, second, bias)
        elif "scaled_dot_product" in name:
            query, key, value = args[:3]
            macs = query.shape[:-2].numel() * query.shape[-2] * key.shape[-2] * (query.shape[-1] + value.shape[-1])
            self.add("attention", name, macs=macs, values=Values("float", 1.0, 0, 0.0, query.numel()))

    def _matmul(self, first: Tensor, second: Tensor, bias: int) -> None:
        rows = self.valid(first)
        targets = 1 if second.ndim == 1 else second.shape[-1]
        values = classify(rows)
        accumulates = values.total * targets
        weighted = isinstance(self.where[-1][1], nn.Linear) or self._is_weight(second)
        if self._is_weight(first) or (values.kind == "float" and not weighted):
            # the second factor is the input, or, between two activations, may be the one made of spikes
            other = classify(second)
            if self._is_weight(first) or other.kind != "float":
                values, accumulates = other, other.total * (1 if first.ndim == 1 else first.shape[-2])
        self.add(
            "linear" if weighted or self._is_weight(first) else "matmul", f"{first.shape[-1]} -> {targets}",
            macs=rows.numel() * targets, spike_accumulates=accumulates, accumulates=bias,
            values=values, dynamics=self._in_neuron(),
        )  # fmt: skip

    def _convolution(self, func: Any, args: Any, output: Tensor) -> None:
        x, weight, bias, *rest = args
        values = classify(x)
        ones = torch.ones_like(weight, dtype=torch.float64)
        units = (x.abs() / values.scale).double()
        self.add(
            "convolution", " x ".join(str(size) for size in weight.shape),
            macs=float(func(torch.ones_like(units), ones, None, *rest).sum()),
            spike_accumulates=float(func(units, ones, None, *rest).sum()),
            accumulates=0 if bias is None else output.numel(), values=values, dynamics=self._in_neuron(),
        )  # fmt: skip

    def _is_weight(self, x: Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self.weights

    def _in_neuron(self) -> bool:
        return any(isinstance(module, Neuron) for _, module in self.where)
