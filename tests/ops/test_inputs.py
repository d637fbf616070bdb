"""Wrong input is refused at the door with a message that says what was expected, what came, and where."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import spikeseq
from spikeseq import ops

X = torch.zeros(2, 5, 3)
OPS: dict[str, Callable[..., Any]] = {
    "linear_scan": lambda x, **k: ops.linear_scan(x, 0.9, **k),
    "lif": lambda x, **k: ops.lif(x, 0.9, **k),
    "prf": lambda x, **k: ops.prf(x, 0.5 + 0.5j, 1.0, **k),
    "dsn": lambda x, **k: ops.dsn(x, x, **k),
    "sliding": lambda x, **k: ops.sliding(x, torch.ones(x.shape[-1] if hasattr(x, "ndim") and x.ndim else 1, 3), **k),
}  # fmt: skip
every_op = pytest.mark.parametrize("op", OPS)


@every_op
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 5, 3, 1), (0, 5, 3), (2, 0, 3), (2, 5, 0)])
def test_shape(op: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=rf"{op}: expected x as \[batch, time, width\].*got \({', '.join(map(str, shape))}"
    ):
        OPS[op](torch.zeros(shape))


@every_op
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_dtype(op: str, dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=rf"{op}: expected x of a floating dtype, got .*{str(dtype)[6:]}"):
        OPS[op](torch.ones(2, 5, 3, dtype=dtype))


@pytest.mark.parametrize("op", ["lif", "prf", "dsn", "sliding"])
def test_complex_input(op: str) -> None:
    with pytest.raises(TypeError, match=f"{op}: expected x of a floating dtype, got .*complex64"):
        OPS[op](torch.ones(2, 5, 3, dtype=torch.complex64))


@every_op
def test_not_a_tensor(op: str) -> None:
    with pytest.raises(TypeError, match=f"{op}: expected x as a tensor.*got list"):
        OPS[op]([[[1.0]]])


@every_op
def test_state_of_another_batch(op: str) -> None:
    bad = torch.zeros(3, 2, 3) if op == "sliding" else torch.zeros(3, 3, dtype=torch.complex64 if op == "prf" else None)
    expected = r"\(2, 2, 3\)" if op == "sliding" else r"\(2, 3\)"
    with pytest.raises(ValueError, match=rf"{op}: expected state {expected} for x \(2, 5, 3\), got \(3, .*state=None"):
        OPS[op](X, state=bad)


@every_op
def test_state_of_another_kind(op: str) -> None:
    shape = (2, 2, 3) if op == "sliding" else (2, 3)
    wrong = torch.float32 if op == "prf" else torch.complex64
    with pytest.raises(
        TypeError, match=rf"{op}: expected a {'complex' if op == 'prf' else 'real'} state, got .*{str(wrong)[6:]}"
    ):
        OPS[op](X, state=torch.zeros(shape, dtype=wrong))
    with pytest.raises((TypeError, ValueError), match=f"{op}: expected .*state"):
        OPS[op](X, state=torch.zeros(shape, dtype=torch.int64))
    with pytest.raises((TypeError, ValueError), match=f"{op}: expected .*state"):
        OPS[op](X, state=(torch.zeros(shape),))


@every_op
def test_state_in_another_precision_is_converted(op: str) -> None:
    """A float64 state carried into a float32 run (a module that moved) comes out as float32."""
    shape = (2, 2, 3) if op == "sliding" else (2, 3)
    wide, narrow = (torch.complex128, torch.complex64) if op == "prf" else (torch.float64, torch.float32)
    assert OPS[op](X, state=torch.ones(shape, dtype=wide))[1].dtype == narrow
    assert OPS[op](X.double(), state=torch.ones(shape, dtype=narrow))[1].dtype == wide


@every_op
@pytest.mark.parametrize(
    "starts", [torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.uint8), torch.zeros(2, 4, dtype=torch.bool),
               torch.zeros(5, 2, dtype=torch.bool), torch.zeros(2, 5, 1, dtype=torch.bool), [[True] * 5] * 2],
    ids=["float", "uint8", "short", "turned", "3d", "list"],
)  # fmt: skip
def test_starts(op: str, starts: Any) -> None:
    with pytest.raises(ValueError, match=rf"{op}: expected starts as bool \[batch, time\] = \(2, 5\), got "):
        OPS[op](X, starts=starts)


PARAMETERS = {
    "lif decay": (lambda v: ops.lif(X, v), "lif: expected decay"),
    "lif threshold": (lambda v: ops.lif(X, 0.9, v), "lif: expected threshold"),
    "lif rho": (lambda v: ops.lif(X, 0.9, rho=v), "lif: expected rho"),
    "prf decay": (lambda v: ops.prf(X, v, 1.0), "prf: expected decay"),
    "prf gain": (lambda v: ops.prf(X, 0.9j, v), "prf: expected gain"),
    "dsn threshold": (lambda v: ops.dsn(X, X, 0.25, v), "dsn: expected threshold"),
    "sliding bias": (lambda v: ops.sliding(X, torch.ones(3, 2), v), "sliding: expected bias"),
    "scan decay": (lambda v: ops.linear_scan(X, v), "linear_scan: expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), (5, 3), (2, 5, 4)])
def test_parameter_shape(name: str, shape: tuple[int, ...]) -> None:
    call, message = PARAMETERS[name]
    with pytest.raises(ValueError, match=rf"{message}.*got \({shape[0]}"):
        call(torch.full(shape, 0.5))


def test_conv_dsn() -> None:
    """Its state is a pair; all else is checked as in `dsn` and `sliding`."""
    weight = torch.ones(3, 4)
    for state in (torch.zeros(2, 3), (torch.zeros(2, 3),), [torch.zeros(2, 3), torch.zeros(2, 3, 3)]):
        with pytest.raises(ValueError, match=r"conv_dsn: expected state as \(membrane, history\), got"):
            ops.conv_dsn(X, weight, state=state)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"conv_dsn: expected state \(2, 3, 3\) .*got \(2, 2, 3\)"):
        ops.conv_dsn(X, weight, state=(torch.zeros(2, 3), torch.zeros(2, 2, 3)))
    with pytest.raises(ValueError, match=r"conv_dsn: expected state \(2, 3\) .*got \(4, 3\)"):
        ops.conv_dsn(X, weight, state=(torch.zeros(4, 3), torch.zeros(2, 3, 3)))
    for name, options in {
        "bias": {"bias": math.inf},
        "history": {"state": (torch.zeros(2, 3), torch.full((2, 3, 3), math.inf))},
        "weight": {"weight": torch.full((3, 4), -math.inf)},
    }.items():  # the decay would be 0 or 1, and the final state finite
        with pytest.raises(ValueError, match=f"conv_dsn: expected finite {name}, got -?inf"):
            ops.conv_dsn(X, **{"weight": weight, **options})
    with pytest.raises(ValueError, match=r"conv_dsn: expected weight \[width = 3, lags >= 1\].*, got \(4, 3\)"):
        ops.conv_dsn(X, torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"conv_dsn: expected tau > 0"):
        ops.conv_dsn(X, weight, tau=0.0)
    for t in (0, 2, 4):
        bad = X.clone()
        bad[1, t, 2] = math.nan
        for backend in ("reference", "torch", "native"):
            if spikeseq.backends()[backend] is None:
                message = rf"conv_dsn: expected finite x, got nan at .* = \[1, {t}, 2\]"
                with pytest.raises(ValueError, match=message), spikeseq.backend(backend):
                    ops.conv_dsn(bad, weight)
                with pytest.raises(ValueError, match=r"conv_dsn: .*finite (weight|history)"), spikeseq.backend(backend):
                    ops.conv_dsn(X, weight * math.nan)
                with pytest.raises(ValueError, match=r"conv_dsn: .*finite (state|history)"), spikeseq.backend(backend):
                    ops.conv_dsn(X, weight, state=(torch.zeros(2, 3), torch.full((2, 3, 3), math.nan)))


def test_options() -> None:
    with pytest.raises(ValueError, match=r"lif: expected reset to be one of .*soft.*hard.*none.*got 'zero'"):
        ops.lif(X, 0.9, reset="zero")
    with pytest.raises(ValueError, match=r"prf: expected reset to be one of .*got 'hard'"):
        ops.prf(X, 0.9j, 1.0, reset="hard")
    with pytest.raises(ValueError, match=r"lif: expected output to be one of .*membrane.*got 'both'"):
        ops.lif(X, 0.9, output="both")
    with pytest.raises(ValueError, match=r"lif: .*hard.*integer"):
        ops.lif(X, 0.9, reset="hard", surrogate=ops.integer(4))
    for tau in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"dsn: expected tau > 0 steps, got {tau}"):
            ops.dsn(X, X, tau)
    with pytest.raises(ValueError, match=r"dsn: expected gate like x .*got \(2, 5, 1\)"):
        ops.dsn(X, torch.zeros(2, 5, 1))
    with pytest.raises(TypeError, match=r"lif: expected a real decay, got .*complex64"):
        ops.lif(X, torch.tensor(0.9j))
    with pytest.raises(ValueError, match=r"linear_scan: expected a time-varying decay like x .*got \(2, 4, 3\)"):
        ops.linear_scan(X, torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match=r"sliding: expected weight \[width = 3, lags >= 1\].*, got \(3, 0\)"):
        ops.sliding(X, torch.zeros(3, 0))
    with pytest.raises(ValueError, match=r"sliding: expected weight \[width = 3, lags >= 1\].*, got \(2, 3\)"):
        ops.sliding(X, torch.zeros(2, 3))
    with pytest.raises(TypeError, match=r"spike: expected a floating.* membrane, got .*int64"):
        ops.spike(torch.zeros(3, dtype=torch.int64))
    with pytest.raises((TypeError, ValueError), match="sliding: expected weight"):
        ops.sliding(X, [[1.0]])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="spike: expected"):
        ops.spike(1.0)  # pyright: ignore[reportArgumentType]


@every_op
def test_one_step_one_channel(op: str) -> None:
    x = torch.full((1, 1, 1), 1.5)
    for backend in ("reference", "torch", "native"):
        if spikeseq.backends()[backend] is None:
            with spikeseq.backend(backend):
                y, state = OPS[op](x)
            spike = {"linear_scan": 1.5, "lif": 1.0, "prf": 1.0, "dsn": 1.0, "sliding": 1.5}[op]
            alpha = torch.sigmoid(torch.tensor(1.5)).item() ** 4
            end = {"linear_scan": 1.5, "lif": 0.5, "prf": 1.5, "dsn": (1 - alpha) * 1.5}.get(op)
            assert y.item() == spike
            if end is not None:
                assert state.item() == pytest.approx(end, rel=1e-6)
            else:
                assert state.flatten().tolist() == [0.0, 1.5]
