"""The public door of each operation: under torch.compile and torch.export one registered node, never looked into.

Under a compiler each public operation becomes `torch.ops.spikeseq.<operation>`, whose output shapes are known for any
batch, time and width. When the node runs it runs the eager operation: the same checks, backends and numbers. It keeps
its inputs alone, and its backward runs the forward again: training through a compiled model costs each operation one
forward pass more than eager training. It is differentiable once; a backend chosen by name must also be in force
during the backward pass.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from .surrogate import Surrogate

Operation = TypeVar("Operation", bound=Callable[..., Any])
Outputs = tuple[Tensor, ...]

# How an argument of a public operation, by its annotation, is written in a schema.
FIELDS = {
    "Tensor": ("Tensor {}",),
    "Tensor | float": ("Tensor {}",),
    "Tensor | complex": ("Tensor {}",),
    "Tensor | None": ("Tensor? {}",),
    "Tensor | float | None": ("Tensor? {}",),
    "tuple[Tensor, Tensor] | None": ("Tensor? {}_membrane", "Tensor? {}_history"),
    "Surrogate": ("str {}_kind", "float {}_parameter"),
    "str": ("str {}",),
    "float": ("float {}",),
    "bool": ("bool {}",),
}
AUTOGRAD = ("AutogradFunctionality", "ADInplaceOrView")


def _flatten(kinds: dict[str, str], values: dict[str, Any]) -> list[Any]:
    """The arguments as the schema wants them: tensors, strings and numbers in one row. Traced by the compiler."""
    flat: list[Any] = []
    for name, kind in kinds.items():
        value = values[name]
        if kind == "Surrogate":
            flat += [value.kind, value.parameter]
        elif kind.startswith("tuple"):
            flat += [None, None] if value is None else list(value)
        elif "Tensor" in kind and isinstance(value, (int, float, complex)):
            wide = torch.complex128 if isinstance(value, complex) else torch.float64
            flat.append(torch.full((), value, dtype=wide, device=values[next(iter(kinds))].device))
        else:
            flat.append(value)
    return flat


def _gather(kinds: dict[str, str], flat: Iterator[Any]) -> dict[str, Any]:
    """The inverse of `_flatten`."""
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        if kind == "Surrogate":
            values[name] = Surrogate(next(flat), next(flat))
        elif kind.startswith("tuple"):
            pair = next(flat), next(flat)
            values[name] = None if pair[0] is None else pair
        else:
            values[name] = next(flat)
    return values


def transformed() -> bool:
    """Whether a compiler or a torch.func transform is at work, so that tensors have no memory to look at."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


def unwatched() -> bool:
    """Whether nothing but the values is wanted: no derivative in either direction, no compiler, no transform."""
    return not torch.is_grad_enabled() and not transformed() and forward_ad._current_level < 0


@contextmanager
def _recording() -> Iterator[None]:
    """Let autograd record inside a registered node: compiled code runs it below autograd, with those keys shut off."""
    keys = [torch._C.DispatchKey.__members__[name] for name in AUTOGRAD]
    shut = [key for key in keys if torch._C._dispatch_tls_is_dispatch_key_excluded(key)]
    for key in shut:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for key in shut:
            torch._C._dispatch_tls_set_dispatch_key_excluded(key, True)


def opaque(outline: Callable[..., Outputs]) -> Callable[[Operation], Operation]:
    """Register the decorated operation. `outline` takes its arguments and gives unfilled outputs of their shapes."""

    def decorate(operation: Operation) -> Operation:
        name, signature = operation.__name__, inspect.signature(operation)
        kinds = {key: str(parameter.annotation) for key, parameter in signature.parameters.items()}
        defaults = {key: p.default for key, p in signature.parameters.items() if p.default is not p.empty}
        fields = [field.format(key) for key, kind in kinds.items() for field in FIELDS[kind]]
        returned = str(signature.return_annotation)
        outputs = returned.count("Tensor")

        def evaluate(*flat: Any) -> Outputs:
            found = operation(**_gather(kinds, iter(flat)))
            return tuple(pytree.tree_leaves(found))

        def forward(*flat: Any) -> Any:
            mine = {value.untyped_storage().data_ptr() for value in flat if isinstance(value, Tensor)}
            found = [
                out.clone() if out.untyped_storage().data_ptr() in mine else out.contiguous() for out in evaluate(*flat)
            ]
            return tuple(found) if outputs > 1 else found[0]

        def forward_outline(*flat: Any) -> Any:
            found = outline(**_gather(kinds, iter(flat)))
            return found if outputs > 1 else found[0]

        def backward(*flat_grads_wanted: Any) -> list[Tensor]:
            *flat, grads, wanted = flat_grads_wanted
            for i in wanted:
                flat[i] = flat[i].detach().requires_grad_()
            inputs = [flat[i] for i in wanted]
            with _recording():
                found = torch.autograd.grad(evaluate(*flat), inputs, grads, allow_unused=True, materialize_grads=True)
            return [grad.contiguous() for grad in found]

        def backward_outline(*flat_grads_wanted: Any) -> list[Tensor]:
            *flat, _, wanted = flat_grads_wanted
            return [flat[i].new_empty(flat[i].shape) for i in wanted]

        arguments, results = ", ".join(fields), ", ".join(["Tensor"] * outputs)
        node = torch.library.custom_op(
            f"spikeseq::{name}", forward, mutates_args=(), schema=f"({arguments}) -> ({results})"
        )
        node.register_fake(forward_outline)
        node_backward = torch.library.custom_op(
            f"spikeseq::{name}_backward",
            backward,
            mutates_args=(),
            schema=f"({arguments}, Tensor[] grads, int[] wanted) -> Tensor[]",
        )
        node_backward.register_fake(backward_outline)

        def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in inputs))
            ctx.others = [None if isinstance(value, Tensor) else value for value in inputs]

        def pull_back(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
            flat = [
                other if saved is None else saved for saved, other in zip(ctx.saved_tensors, ctx.others, strict=True)
            ]
            wanted = [i for i, needed in enumerate(ctx.needs_input_grad) if needed]
            found = iter(node_backward(*flat, list(grads), wanted))
            return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)

        node.register_autograd(pull_back, setup_context=keep)

        @functools.wraps(operation)
        def door(*args: Any, **kwargs: Any) -> Any:
            if not transformed():
                return operation(*args, **kwargs)
            if not torch.compiler.is_compiling():
                raise NotImplementedError(
                    f"{name} does not run inside torch.func transforms (vmap, grad, jvp): put more sequences into its "
                    "batch axis, and differentiate with torch.autograd, twice too if need be"
                )
            values = {**defaults, **dict(zip(kinds, args, strict=False)), **kwargs}
            found = node(*_flatten(kinds, values))
            return (found[0], (found[1], found[2])) if outputs == 3 else found

        return door  # pyright: ignore[reportReturnType]

    return decorate
