"""Checks at the door: every message says what was expected, what came, and where."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SMALLEST = 2.0**-126  # of float32 at its full precision
FLOATING = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def shape_of(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')} on {value.device}"
    return f"{type(value).__name__} {value!r}"


def sequence(op: str, x: Tensor, allow_complex: bool = False) -> None:
    """`x` must be a floating [batch, time, width] tensor with at least one element on each axis."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: expected x as a tensor [batch, time, width], got {type(x).__name__}")
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"{op}: expected x as [batch, time, width], each at least 1, got {shape_of(x)}")
    if x.dtype not in FLOATING and not (allow_complex and x.is_complex()):
        raise TypeError(f"{op}: expected x of a floating dtype, got {shape_of(x)}; convert with x.float()")


def compute_dtype(x: Tensor) -> torch.dtype:
    """State and arithmetic are never narrower than float32."""
    return torch.float64 if x.dtype in (torch.float64, torch.complex128) else torch.float32


def complex_of(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def per_channel(op: str, name: str, value: Tensor | complex, x: Tensor, dtype: torch.dtype) -> Tensor:
    """A scalar or [width] parameter as [width], in the dtype of the state, on the device of `x`."""
    if not isinstance(value, Tensor):
        value = number(op, name, value, dtype, x.device, x.shape[-1:])
    width = x.shape[-1]
    if value.ndim > 1 or (value.ndim == 1 and value.shape[0] not in (1, width)):
        raise ValueError(f"{op}: expected {name} as a scalar or [width] = [{width}], got {shape_of(value)}")
    if value.device != x.device:
        raise ValueError(f"{op}: expected {name} on {x.device} like x, got {shape_of(value)}")
    if value.is_complex() and not dtype.is_complex:
        raise TypeError(f"{op}: expected a real {name}, got {shape_of(value)}")
    return value.to(dtype).expand(width)


def number(
    op: str, name: str, value: object, dtype: torch.dtype, device: torch.device, size: tuple[int, ...] = ()
) -> Tensor:
    """A parameter that is no tensor as one: Python's numbers in `dtype`, others, such as numpy's, as they are.

    On a GPU it is written there at once in its final `size`: a copy from the CPU would wait for the queue.
    """
    plain = isinstance(value, (int, float, complex))
    try:
        if plain and device.type != "cpu":  # rounded here first: to infinity, where it is too large for `dtype`
            return torch.full(
                size, torch.as_tensor(value, dtype=dtype, device="cpu").item(), dtype=dtype, device=device
            )
        return torch.as_tensor(value, dtype=dtype if plain else None, device=device)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{op}: expected {name} as a number or a tensor, got {shape_of(value)}") from error


def firing_threshold(op: str, value: Tensor | float, levels: int | None, x: Tensor, dtype: torch.dtype) -> Tensor:
    """`per_channel`, and `reachable`."""
    threshold = per_channel(op, "threshold", value, x, dtype)
    reachable(op, value if isinstance(value, (int, float)) else threshold, levels)
    return threshold


def reachable(op: str, threshold: Tensor | float, levels: int | None) -> None:
    """No NaN, which no membrane would ever reach; infinity is a way to say "never". Integer spikes are divided by it,
    so there it may not be so small or so large that float32 loses its reciprocal.
    """
    wrong = unreachable(threshold, levels)
    if wrong is not None and math.isnan(wrong):
        raise ValueError(f"{op}: expected a finite threshold, got nan")
    if wrong is not None:
        raise ValueError(
            f"{op}: expected a threshold of at least {SMALLEST:.4g} and at most {1 / SMALLEST:.4g}, or infinity, for "
            f"integer spikes, got {wrong}"
        )


def unreachable(threshold: Tensor | float, levels: int | None) -> float | None:
    """The first number that cannot be a threshold, or None. Those on a GPU are not looked at."""
    if isinstance(threshold, (int, float)):
        size = abs(threshold)
        usable = size == size if levels is None else SMALLEST <= size <= 1 / SMALLEST or size == math.inf
        return None if usable else threshold
    if threshold.device.type != "cpu":
        return None
    values = threshold.detach().to(torch.float64)
    size = values.abs()
    usable = ~size.isnan() if levels is None else (size >= SMALLEST) & ((size <= 1 / SMALLEST) | size.isinf())
    return None if bool(usable.all()) else values[~usable].flatten()[0].item()


def countable(op: str, levels: int | None, dtype: torch.dtype) -> None:
    """Integer spikes must fit the output's dtype: bfloat16 counts to 256, float16 to 2048."""
    most = {torch.bfloat16: 256, torch.float16: 2048}.get(dtype)
    if most is not None and levels is not None and levels > most:
        raise ValueError(f"{op}: expected levels <= {most} for {dtype} spikes, got {levels}; convert with x.float()")


def narrowed(op: str, out: Tensor, dtype: torch.dtype) -> Tensor:
    """The output in the input's dtype. Raises where a float16 cannot hold a membrane that float32 holds."""
    out = out.to(dtype)
    if dtype == torch.float16:
        finite(f"{op}: the membrane overflows float16, use x.float()", "output", out)
    return out


def state_like(op: str, state: Tensor | None, expected: tuple[int, ...], x: Tensor, dtype: torch.dtype) -> Tensor:
    """The given state, checked against the batch at hand, or zeros."""
    if state is None:
        return torch.zeros(expected, dtype=dtype, device=x.device)
    if not isinstance(state, Tensor) or tuple(state.shape) != expected:
        raise ValueError(
            f"{op}: expected state {expected} for x {tuple(x.shape)}, got {shape_of(state)}; "
            "a state belongs to one batch: start a new one with state=None"
        )
    if state.device != x.device:
        raise ValueError(f"{op}: expected state on {x.device} like x, got {shape_of(state)}")
    if not (state.is_floating_point() or state.is_complex()) or state.is_complex() != dtype.is_complex:
        kind = "complex" if dtype.is_complex else "real"
        raise TypeError(f"{op}: expected a {kind} state, got {shape_of(state)}")
    return state.to(dtype)


def start_mask(op: str, starts: Tensor | None, x: Tensor) -> Tensor | None:
    if starts is None:
        return None
    if not isinstance(starts, Tensor) or starts.dtype != torch.bool or starts.shape != x.shape[:2]:
        raise ValueError(f"{op}: expected starts as bool [batch, time] = {tuple(x.shape[:2])}, got {shape_of(starts)}")
    if starts.device != x.device:
        raise ValueError(f"{op}: expected starts on {x.device} like x, got {shape_of(starts)}")
    return starts


def lag_weights(op: str, weight: Tensor, x: Tensor) -> None:
    if (
        not isinstance(weight, Tensor)
        or weight.ndim != 2
        or weight.shape[0] != x.shape[2]
        or weight.shape[1] < 1
        or weight.device != x.device
    ):
        raise ValueError(
            f"{op}: expected weight [width = {x.shape[2]}, lags >= 1] on {x.device}, got {shape_of(weight)}"
        )


def time_constant(op: str, tau: float) -> None:
    if not (math.isfinite(tau) and tau > 0):
        raise ValueError(f"{op}: expected tau > 0 steps, got {tau}")


def choice(op: str, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{op}: expected {name} to be one of {allowed}, got {value!r}")


def _sum_is_finite(a: Tensor) -> bool:
    a = torch.view_as_real(a) if a.is_complex() else a
    return math.isfinite(a.sum().item()) or bool(torch.isfinite(a).all())


def finite(op: str, name: str, value: Tensor, axes: str | None = None) -> None:
    """Raise if `value` holds NaN or infinity. On a GPU this would stall the queue at each layer, so it is not done.

    Nor while a compiler traces a model: there the operations look at their values when they run (`opaque.py`).
    """
    if torch.compiler.is_compiling() or value.device.type != "cpu" or _sum_is_finite(value.detach()):
        return
    at = (~torch.isfinite(value)).nonzero()[0].tolist()
    axes = axes or {3: "[batch, time, width]", 2: "[batch, width]", 1: "[width]"}.get(value.ndim, "index")
    raise ValueError(f"{op}: expected finite {name}, got {value[tuple(at)].item()} at {axes} = {at}")


def finite_run(op: str, end: Tensor, **inputs: Tensor) -> None:
    """Raise if NaN or infinity came in or came about anywhere in a run, for the price of a look at the final state.

    In every recurrence here a non-finite membrane stays so to the end (the state is cleared by multiplying with 0,
    and 0 * NaN = 0 * inf = NaN), so the final state answers for all steps.
    """
    if end.device.type != "cpu" or _sum_is_finite(end.detach()):
        return
    for name, value in inputs.items():
        finite(op, name, value)
    at = (~torch.isfinite(end)).nonzero()[0].tolist()
    raise ValueError(
        f"{op}: the membrane overflowed at [batch, width] = {at} though every input is finite; "
        "expected |decay| <= 1 and inputs that a float32 sum over time can hold"
    )
