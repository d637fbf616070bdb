"""The laws that every causal neuron keeps, as plain functions on any `Neuron`.

Each law raises AssertionError where it is broken. `x` is [batch, time, width]. Laws compare spikes exactly: draw inputs
with `generic`, which says whether every decision is clear enough for rounding not to turn it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from spikeseq import Neuron

Forward = Callable[[Neuron, Tensor, Any, Tensor | None], tuple[Tensor, Any]]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
MARGIN = {torch.float64: 1e-8, torch.float32: 5e-5}


def leaves(state: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(state) if isinstance(leaf, Tensor)]


def clone(state: Any, grad: bool = False) -> Any:
    return pytree.tree_map_only(Tensor, lambda t: t.detach().clone().requires_grad_(grad), state)


def random_state(neuron: Neuron, batch: int, dtype: torch.dtype) -> Any:
    """A state that a run could have left: small, of the neuron's own shapes, in the precision of `dtype`."""

    def draw(zeros: Tensor) -> Tensor:
        wanted = torch.promote_types(dtype, torch.complex64) if zeros.is_complex() else dtype
        return 0.5 * torch.randn(zeros.shape, dtype=wanted)

    return pytree.tree_map_only(Tensor, draw, neuron.initial_state(batch))


def whole(neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None) -> tuple[Tensor, Any]:
    return neuron(x, state, starts)


def _cleared(state: Tensor, rows: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (state.ndim - 1)), torch.zeros_like(state), state)


def stepped(neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None) -> tuple[Tensor, Any]:
    """The serial form. An episode's start is what it says: a fresh state for that row of the batch."""
    outputs = []
    for t, x_t in enumerate(x.unbind(1)):
        if starts is not None and state is not None:
            state = pytree.tree_map_only(Tensor, partial(_cleared, rows=starts[:, t]), state)
        y_t, state = neuron.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, 1), state


def cut(at: Sequence[int]) -> Forward:
    """Chunks [0, at[0]), [at[0], at[1]), ..., carrying the state."""

    def forward(neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None) -> tuple[Tensor, Any]:
        outputs = []
        edges = [0, *sorted(at), x.shape[1]]
        for begin, end in zip(edges[:-1], edges[1:], strict=True):
            if begin == end:
                continue
            chunk = None if starts is None else starts[:, begin:end]
            y, state = neuron(x[:, begin:end], state, chunk)
            outputs.append(y)
        return torch.cat(outputs, 1), state

    return forward


def episodes(neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None) -> tuple[Tensor, Any]:
    """Each row of the batch on its own, each episode from a fresh state."""
    assert starts is not None
    rows, ends = [], []
    for b in range(x.shape[0]):
        carried = pytree.tree_map_only(Tensor, lambda s, b=b: s[b : b + 1], state)
        firsts = sorted({0, *starts[b].nonzero().flatten().tolist()})
        pieces = []
        for begin, end in zip(firsts, [*firsts[1:], x.shape[1]], strict=True):
            y, carried = neuron(x[b : b + 1, begin:end], None if starts[b, begin] else carried)
            pieces.append(y)
        rows.append(torch.cat(pieces, 1))
        ends.append(carried)
    flat = [torch.cat(parts) for parts in zip(*(leaves(end) for end in ends), strict=True)]
    return torch.cat(rows), pytree.tree_unflatten(flat, pytree.tree_structure(ends[0]))


def record(forward: Forward, neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None = None) -> dict[str, Tensor]:
    """Output, final state and, for one fixed random cotangent of both, the gradients of input, parameters and state."""
    neuron.zero_grad()
    x = x.detach().clone().requires_grad_()
    state = clone(state, grad=True)
    y, end = forward(neuron, x, state, starts)
    found = {"output": y, **{f"state {i}": s for i, s in enumerate(leaves(end))}}
    noise = torch.Generator().manual_seed(7)
    loss = torch.zeros((), dtype=torch.float64)
    for value in found.values():
        weight = torch.randn(value.shape, generator=noise, dtype=torch.float64)
        parts = (value.real, value.imag) if value.is_complex() else (value,)
        for i, part in enumerate(parts):
            loss = loss + (part * (weight if i == 0 else weight.flip(-1))).sum()
    loss.backward()
    # a leaf that cannot matter (an empty history, a state that an episode's start clears) may have no gradient at all
    found["grad of input"] = torch.zeros_like(x) if x.grad is None else x.grad
    for i, s in enumerate(leaves(state)):
        found[f"grad of state {i}"] = torch.zeros_like(s) if s.grad is None else s.grad
    for name, p in neuron.named_parameters():
        found[f"grad of {name}"] = torch.zeros_like(p) if p.grad is None else p.grad
    return {name: value.detach().clone() for name, value in found.items()}


def assert_same(
    got: dict[str, Tensor], wanted: dict[str, Tensor], spikes: bool, tolerance: float | None = None
) -> None:
    """Spikes equal, everything else within rounding of the largest number in its tensor."""
    assert got.keys() == wanted.keys()
    for name, g in got.items():
        w = wanted[name]
        assert g.shape == w.shape, f"{name}: shape {tuple(g.shape)}, expected {tuple(w.shape)}"
        assert g.dtype == w.dtype, f"{name}: {g.dtype}, expected {w.dtype}"
        assert bool(torch.isfinite(g).all()), f"{name} is not finite"
        if name == "output" and spikes:
            assert torch.equal(g, w), f"{int((g != w).sum())} of {g.numel()} spikes differ"
        elif g.numel():
            real = g.real.dtype if g.is_complex() else g.dtype
            allowed = (tolerance or TOLERANCE[real]) * (1.0 + w.abs().max().item())
            error = (g - w).abs().max().item()
            assert error <= allowed, f"{name}: off by {error:.3g}, allowed {allowed:.3g}"


def membrane_of(neuron: Neuron, x: Tensor, state: Any = None, starts: Tensor | None = None) -> Tensor:
    """The membrane before the reset, in float64."""
    probe = copy.deepcopy(neuron).double()
    probe.output = "membrane"
    state = pytree.tree_map_only(
        Tensor, lambda s: s.detach().to(torch.complex128 if s.is_complex() else torch.float64), state
    )
    with torch.no_grad():
        return probe(x.detach().double(), state, starts)[0]


def generic(neuron: Neuron, x: Tensor, state: Any = None, starts: Tensor | None = None) -> bool:
    """Whether no decision of this run lies so near to its threshold that rounding could turn it."""
    membrane = membrane_of(neuron, x, state, starts)
    threshold = torch.as_tensor(getattr(neuron, "threshold", 1.0), dtype=torch.float64)
    if neuron.levels is None:
        distance = (membrane - threshold).abs()
    else:  # half-integers turn the spike; 0 and the top turn the gradient on and off
        ratio = membrane / threshold
        distance = torch.minimum(
            (ratio - ratio.floor() - 0.5).abs(), torch.minimum(ratio.abs(), (ratio - neuron.levels).abs())
        )
    return bool(distance.min() > MARGIN[x.dtype] * (1.0 + membrane.abs().max()))


def parallel_equals_steps(neuron: Neuron, x: Tensor, state: Any, starts: Tensor | None = None) -> None:
    """Law 1: the same output, final state and gradients of input, parameters and initial state."""
    spikes = neuron.output == "spikes"
    assert_same(record(whole, neuron, x, state, starts), record(stepped, neuron, x, state, starts), spikes)


def chunks_equal_whole(neuron: Neuron, x: Tensor, state: Any, at: Sequence[int], starts: Tensor | None = None) -> None:
    """Law 2: cut anywhere and carry the state."""
    spikes = neuron.output == "spikes"
    assert_same(record(cut(at), neuron, x, state, starts), record(whole, neuron, x, state, starts), spikes)


def starts_equal_fresh_states(neuron: Neuron, x: Tensor, state: Any, starts: Tensor) -> None:
    """Law 3: `starts[b, t]` is a fresh state before step t, forward and backward."""
    spikes = neuron.output == "spikes"
    assert_same(record(whole, neuron, x, state, starts), record(episodes, neuron, x, state, starts), spikes)


def causal(neuron: Neuron, x: Tensor, t: int, exact: bool = True) -> None:
    """Law 4: a change of x[t] leaves the output before t alone, and the output before t has no gradient for x[>= t]."""
    x = x.detach().clone().requires_grad_()
    y, _ = neuron(x)
    if t > 0:
        (grad,) = torch.autograd.grad(y[:, :t].square().sum() + y[:, :t].sum(), x, retain_graph=True)
        limit = 0.0 if exact else 1e-9 * (1.0 + grad.abs().max().item())
        assert grad[:, t:].abs().max().item() <= limit
    changed = x.detach().clone()
    changed[:, t:] = changed[:, t:].mul(-3.0).add(5.0)
    z, _ = neuron(changed)
    if exact or neuron.output == "spikes":
        assert torch.equal(y[:, :t], z[:, :t])
    else:
        assert torch.allclose(y[:, :t], z[:, :t], atol=1e-9, rtol=0)


def rows_independent(neuron: Neuron, x: Tensor, b: int) -> None:
    """Law 5a: other rows of the batch neither see row b nor receive gradient from it."""
    x = x.detach().clone().requires_grad_()
    y, _ = neuron(x)
    (grad,) = torch.autograd.grad(y[b].sum(), x)
    others = [i for i in range(x.shape[0]) if i != b]
    assert bool((grad[others] == 0).all())
    changed = x.detach().clone()
    changed[b] = changed[b].mul(-2.0).sub(3.0)
    assert torch.equal(neuron(changed)[0][others], y[others])


def channels_independent(neuron: Neuron, x: Tensor, n: int) -> None:
    """Law 5b: other channels neither see channel n nor receive gradient from it."""
    x = x.detach().clone().requires_grad_()
    y, _ = neuron(x)
    (grad,) = torch.autograd.grad(y[..., n].sum(), x)
    others = [i for i in range(x.shape[2]) if i != n]
    assert bool((grad[..., others] == 0).all())
    changed = x.detach().clone()
    changed[..., n] = changed[..., n].mul(-2.0).sub(3.0)
    assert torch.equal(neuron(changed)[0][..., others], y[..., others])


def bounded(neuron: Neuron, limit: float, steps: int = 1_000_000, chunk: int = 1 << 16) -> None:
    """Law 6: a million steps of |x| <= 1 in chunks with a carried state: finite, |membrane| <= limit, still alive."""
    state, last = None, torch.zeros(())
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for begin in range(0, steps, chunk):
            x = torch.rand(1, min(chunk, steps - begin), neuron.width, generator=noise).mul_(2).sub_(1)
            last, state = neuron(x, state)
            assert bool(torch.isfinite(last).all())
            assert last.abs().max().item() <= limit
    assert last.std().item() > 0
    assert all(bool(torch.isfinite(torch.view_as_real(s) if s.is_complex() else s).all()) for s in leaves(state))
