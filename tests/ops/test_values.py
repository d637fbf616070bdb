"""NaN, infinity and numbers too large or too small are refused with a message that names the culprit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import spikeseq
from spikeseq import ops
from tests.ops.test_inputs import OPS, X, every_op

BACKENDS = ("reference", "torch", "native", "fft")


@every_op
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("t", [0, 17, 39])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_not_finite(op: str, backend: str, value: float, t: int, decay: float) -> None:
    """At the first, a middle and the last step; also where the leak is 0 and would forget it at once."""
    if spikeseq.backends()[backend] is not None or (backend == "fft" and op in ("dsn", "sliding")):
        return
    calls = {
        "linear_scan": lambda x: ops.linear_scan(x, decay),
        "lif": lambda x: ops.lif(x, decay, reset="none" if backend == "fft" else "hard"),
        "prf": lambda x: ops.prf(x, torch.full((3,), decay) * (1 + 1j), 1.0),
        "dsn": lambda x: ops.dsn(x, torch.full_like(x, 2e4 * decay - 1e4)),
        "sliding": lambda x: ops.sliding(x, torch.full((3, 2), decay)),
    }
    x = torch.zeros(2, 40, 3)
    x[1, t, 2] = value
    with (
        pytest.raises(
            ValueError, match=rf"{op}: expected finite x, got {value} at \[batch, time, width\] = \[1, {t}, 2\]"
        ),
        spikeseq.backend(backend),
    ):
        calls[op](x)


@every_op
def test_not_finite_before_a_start(op: str) -> None:
    """An episode's start clears the membrane, not the mistake."""
    x, starts = torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.bool)
    x[0, 1, 0], starts[0, 2] = math.nan, True
    for backend in ("reference", "torch", "native"):
        if spikeseq.backends()[backend] is None:
            with pytest.raises(ValueError, match=f"{op}: expected finite x, got nan"), spikeseq.backend(backend):
                OPS[op](x, starts=starts)


NOT_FINITE = {
    "lif state": (lambda bad: ops.lif(X, 0.9, state=torch.full((2, 3), bad)), "lif: .*finite state"),
    "scan state": (lambda bad: ops.linear_scan(X, 0.9, torch.full((2, 3), bad)), "linear_scan: .*finite state"),
    "prf state": (lambda bad: ops.prf(X, 0.9j, 1.0, state=torch.full((2, 3), complex(bad, 0))), "prf: .*finite state"),
    "dsn state": (lambda bad: ops.dsn(X, X, state=torch.full((2, 3), bad)), "dsn: .*finite state"),
    "sliding state": (
        lambda bad: ops.sliding(X, torch.ones(3, 2), state=torch.full((2, 1, 3), bad)), "sliding: .*finite state"
    ),
    "lif decay": (lambda bad: ops.lif(X, bad), "lif: .*finite decay"),
    "lif threshold": (lambda bad: ops.lif(X, 0.9, bad, reset="none"), "lif: .*finite threshold"),
    "lif rho": (lambda bad: ops.lif(X, 0.9, rho=bad), "lif: .*finite rho"),
    "prf decay": (lambda bad: ops.prf(X, complex(bad, 0), 1.0), "prf: .*finite decay"),
    "prf gain": (lambda bad: ops.prf(X, 0.9j, bad), "prf: .*finite gain"),
    "prf threshold": (lambda bad: ops.prf(X, 0.9j, 1.0, bad), "prf: .*finite threshold"),
    "dsn gate": (lambda bad: ops.dsn(X, torch.full_like(X, bad)), "dsn: .*finite gate"),
    "dsn threshold": (lambda bad: ops.dsn(X, X, 0.25, bad), "dsn: .*finite threshold"),
    "sliding weight": (lambda bad: ops.sliding(X, torch.full((3, 2), bad)), "sliding: .*finite weight"),
    "sliding bias": (lambda bad: ops.sliding(X, torch.ones(3, 2), bad), "sliding: .*finite bias"),
    "spike membrane": (lambda bad: ops.spike(torch.full((3,), bad)), "spike: .*finite membrane"),
    "spike threshold": (lambda bad: ops.spike(torch.zeros(3), bad), "spike: .*finite threshold"),
}  # fmt: skip


# a threshold of infinity is a way to say "never"
@pytest.mark.parametrize(
    ("name", "value"),
    [
        (n, v)
        for n in NOT_FINITE
        for v in (math.nan, math.inf)
        if v != math.inf or n.split()[1] not in ("threshold", "rho")
    ],
)
def test_not_finite_elsewhere(name: str, value: float) -> None:
    """The message names the culprit: not x, which is fine."""
    call, message = NOT_FINITE[name]
    with pytest.raises(ValueError, match=message):
        call(value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("row", [0, 3, 6])
def test_spike_sees_every_row(backend: str, row: int) -> None:
    if spikeseq.backends()[backend] is not None or backend == "fft":
        return
    membrane = torch.zeros(7, 3)
    membrane[row, 1] = math.inf
    message = rf"spike: expected finite membrane, got inf at .* = \[{row}, 1\]"
    with pytest.raises(ValueError, match=message), spikeseq.backend(backend):
        ops.spike(membrane)


@pytest.mark.parametrize("threshold", [0.0, 1e-39, -1e-39])
@pytest.mark.parametrize("grad", [True, False])
def test_integer_spikes_need_a_threshold_to_divide_by(threshold: float, grad: bool) -> None:
    made = {
        "spike": lambda v: ops.spike(X, v, ops.integer(4)),
        "lif": lambda v: ops.lif(X, 0.9, v, surrogate=ops.integer(4)),
        "prf": lambda v: ops.prf(X, 0.9j, 1.0, v, surrogate=ops.integer(4)),
        "dsn": lambda v: ops.dsn(X, X, 0.25, v),
        "conv_dsn": lambda v: ops.conv_dsn(X, torch.zeros(3, 4), threshold=v),
    }
    for op, run in made.items():
        for value in (threshold, torch.tensor([1.0, threshold, 1.0])):
            with (
                torch.set_grad_enabled(grad),
                pytest.raises(ValueError, match=rf"{op}: expected a threshold of at least"),
            ):
                run(value)
    ops.spike(X, threshold)  # binary spikes are not divided


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize(
    "surrogate", [ops.atan(), ops.rect(), ops.sigmoid(), ops.triangle(), ops.integer(4)], ids=lambda s: s.kind
)
@pytest.mark.parametrize("scale", [1e15, 1e25, 1e37])
def test_huge_inputs_have_finite_gradients(backend: str, surrogate: ops.Surrogate, scale: float) -> None:
    """An input of 1e25 is finite, so its spikes and gradients must be: infinity * 0 inside a formula gives NaN."""
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    calls = [
        lambda x: ops.lif(x, 0.5, surrogate=surrogate), lambda x: ops.prf(x, 0.5j, 1.0, surrogate=surrogate),
        lambda x: ops.dsn(x, torch.zeros_like(x), surrogate=surrogate),
    ]  # fmt: skip
    for call in calls:
        x = (torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1).expand(1, 3, 17) * scale).requires_grad_()
        with spikeseq.backend(backend):
            spikes, end = call(x)
        spikes.sum().backward()
        assert x.grad is not None
        assert bool(torch.isfinite(spikes).all())
        assert bool(torch.isfinite(torch.view_as_real(end) if end.is_complex() else end).all())
        assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
def test_an_overflow_says_so(backend: str) -> None:
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))
    with (
        pytest.raises(
            ValueError, match=r"lif: the membrane overflowed at \[batch, width\] = \[0, 0\].*every input is finite"
        ),
        spikeseq.backend(backend),
    ):
        ops.lif(torch.full((1, 50, 3), 3e38), 0.9)
    with pytest.raises(ValueError, match="linear_scan: the membrane overflowed"), spikeseq.backend(backend):
        ops.linear_scan(torch.ones(1, 200, 3), 3.0)


def test_a_float16_output_that_overflows_says_so() -> None:
    """The state is float32 and fine, but the output of 300,000 would be infinity in float16."""
    with pytest.raises(ValueError, match="float16"):
        ops.lif(torch.full((1, 50, 1), 3e4, dtype=torch.float16), 0.9, reset="none", output="membrane")


@pytest.mark.parametrize("value", [0.0, 1e38])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_integer_thresholds_of_any_dtype(value: float, dtype: torch.dtype) -> None:
    threshold = torch.tensor(value, dtype=dtype)
    if threshold.isinf():  # float16 holds no such number: never
        return
    for call in (
        lambda: ops.spike(X, threshold, ops.integer(4)),
        lambda: ops.lif(X, 0.9, threshold, surrogate=ops.integer(4)),
    ):
        with pytest.raises(ValueError, match="expected a threshold of at least"):
            call()


@pytest.mark.parametrize("grad", [True, False])
def test_thresholds_of_other_kinds(grad: bool) -> None:
    membrane = torch.tensor([[-129.0, -128.0, 0.25, 0.5, 1.0]])
    with torch.set_grad_enabled(grad):
        half: Any
        for half in (0.5, np.float32(0.5), np.float64(0.5), np.full(5, 0.5), [0.5] * 5, torch.tensor(0.5).double()):
            assert ops.spike(membrane, half).tolist() == [[0, 0, 0, 1, 1]]
            assert ops.lif(membrane[None], 0.0, half)[0].tolist() == [[[0, 0, 0, 1, 1]]]
        assert ops.spike(membrane, torch.tensor(-128, dtype=torch.int8)).tolist() == [[0, 1, 1, 1, 1]]
        assert ops.spike(membrane, torch.tensor(True)).tolist() == [[0, 0, 0, 0, 1]]
        for wrong in (None, "one", [[0.5], None]):
            with pytest.raises(TypeError, match="expected threshold as a number or a tensor"):
                ops.spike(membrane, wrong)  # pyright: ignore[reportArgumentType]
        for wrong in (None, [1.0], 2.0):
            with pytest.raises(TypeError, match="spike: expected a floating, non-empty membrane"):
                ops.spike(wrong, 1.0)  # pyright: ignore[reportArgumentType]
