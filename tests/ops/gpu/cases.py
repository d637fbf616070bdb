"""What the Triton kernels are held to the reference on, in the interpreter and on a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import ops
from spikeseq.ops import gpu, reference
from spikeseq.ops.gpu import split
from spikeseq.ops.gpu.launch import CONVOLVED, GATED, LIF, PRF, PRF_MORE, VARYING

Size = tuple[int, int, int]
Case = tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]
SURROGATES = [ops.atan(), ops.rect(0.7), ops.sigmoid(3.0), ops.triangle(1.5), ops.integer(3)]
CLEAR = 2e-5  # no membrane of a DSN case lies nearer to where its spike or surrogate jumps


def draw(size: Size, device: str) -> dict[str, Tensor]:
    """Inputs of every kind, drawn on the CPU so that each device sees the same."""
    batch, time, width = size

    def noise(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape) * scale).to(device)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(shape) * (high - low) + low).to(device)

    return {
        "x": noise(batch, time, width, scale=2.0),
        "gate": noise(batch, time, width, scale=3.0),
        "decay": between(0.0, 0.99, width),
        "turning": torch.polar(between(0.0, 0.99, width), between(0.0, 6.0, width)),
        "gain": between(0.5, 1.5, width),
        "threshold": between(0.4, 1.4, width),
        "state": noise(batch, width),
        "z": torch.complex(noise(batch, width), noise(batch, width)),
        "history": noise(batch, 8, width),
        "weight": noise(width, 9, scale=0.5),
        "bias": noise(width),
    }


def masks(size: Size, device: str, wanted: bool) -> Tensor | None:
    if not wanted:
        return None
    time = size[1]
    starts = torch.rand(size[:2]) < min(0.2, 4 / time)
    starts[0, time // 3 : 2 * time // 3] = False  # of three chunks the second only hands on
    starts[0, 0] = starts[-1, -1] = True
    starts[-1, time // 3 : 2 * time // 3 - 1] = False
    starts[-1, max(time // 3 - 2, 0)] = starts[-1, 2 * time // 3] = True  # soon before the next chunk, and at one
    return starts.to(device)


def flat(result: tuple[Tensor, Any]) -> tuple[Tensor, ...]:
    out, state = result
    return (out, *state) if isinstance(state, tuple) else (out, state)


def lif(d: dict[str, Tensor], starts: Tensor | None, surrogate: ops.Surrogate, **options: Any) -> Case:
    def call(x: Tensor, decay: Tensor, threshold: Tensor, state: Tensor):
        rho = d["gain"]
        return ops.lif(x, decay, threshold, state, starts, rho=rho, surrogate=surrogate, **options)

    return call, [d["x"], d["decay"], d["threshold"], d["state"]]


def prf(d: dict[str, Tensor], starts: Tensor | None, surrogate: ops.Surrogate, **options: Any) -> Case:
    def call(x: Tensor, turning: Tensor, gain: Tensor, threshold: Tensor, z: Tensor):
        rho = d["gain"]
        return ops.prf(x, turning, gain, threshold, z, starts, rho=rho, surrogate=surrogate, **options)

    return call, [d["x"], d["turning"], d["gain"], d["threshold"], d["z"]]


def clear(d: dict[str, Tensor], gate: Tensor, starts: Tensor | None, surrogate: ops.Surrogate, tau: float) -> Tensor:
    """Which channels have no membrane near a jump: elsewhere the gate's exponential may turn a spike."""
    with spikeseq.backend("reference"):
        u, _ = ops.dsn(d["x"], gate, tau, state=d["state"], starts=starts, output="membrane")
    v = d["threshold"]
    if surrogate.levels is None:
        edges = [u - v, (u - v).abs() - surrogate.parameter / 2]
    else:
        edges = [u / v - u.div(v).floor() - 0.5, u / v, u / v - surrogate.levels]
    return torch.stack([edge.abs() > CLEAR for edge in edges]).all(0).all(0).all(0)


def dsn(d: dict[str, Tensor], starts: Tensor | None, surrogate: ops.Surrogate, tau: float, **options: Any) -> Case:
    sure = clear(d, d["gate"], starts, surrogate, tau)
    assert sure.float().mean() > 0.5

    def call(x: Tensor, gate: Tensor, threshold: Tensor, state: Tensor):
        options_ = {"surrogate": surrogate, **options}
        out, end = ops.dsn(x, gate, tau, threshold, state, starts, **options_)
        return out * sure, end

    return call, [d["x"], d["gate"], d["threshold"], d["state"]]


def conv_dsn(d: dict[str, Tensor], starts: Tensor | None, lags: int, tau: float, output: str) -> Case:
    weight, past = d["weight"][:, :lags], d["history"][:, : lags - 1]
    sure = torch.ones_like(d["threshold"], dtype=torch.bool)
    if output == "spikes":
        with spikeseq.backend("reference"):
            gate, _ = ops.sliding(d["x"], weight, d["bias"], past, starts)
        sure = clear(d, gate, starts, ops.integer(), tau)
        assert sure.float().mean() > 0.5

    def call(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, state: Tensor, history: Tensor):
        out, *end = flat(ops.conv_dsn(x, weight, bias, tau, threshold, (state, history), starts, output=output))
        return out * sure, *end

    return call, [d["x"], weight, d["bias"], d["threshold"], d["state"], past]


def scan(d: dict[str, Tensor], starts: Tensor | None, x: str, decay: str) -> Case:
    inputs = {
        "real": d["x"],
        "complex": torch.complex(d["x"], d["gate"]),
        "varying": d["gate"].sigmoid(),
        "constant": d["decay"],
        "turning": d["turning"],
    }
    state = d["z"] if decay == "turning" else d["state"]
    return lambda x, decay, state: ops.linear_scan(x, decay, state, starts), [inputs[x], inputs[decay], state]


def sliding(d: dict[str, Tensor], starts: Tensor | None, lags: int) -> Case:
    weight, state = d["weight"][:, :lags], d["history"][:, : lags - 1]
    return lambda x, w, b, s: ops.sliding(x, w, b, s, starts), [d["x"], weight, d["bias"], state]


def spike(d: dict[str, Tensor], surrogate: ops.Surrogate) -> Case:
    return lambda x, v: (ops.spike(x, v, surrogate),), [d["x"], d["threshold"]]


@cache
def every_case(size: Size, device: str, with_starts: bool) -> dict[str, Case]:
    torch.manual_seed(0)
    d, starts = draw(size, device), masks(size, device, with_starts)
    atan, integer = ops.atan(), ops.integer(3)
    cases = {f"lif {reset}": lif(d, starts, atan, reset=reset) for reset in ("soft", "hard", "none")}
    cases |= {f"prf {reset}": prf(d, starts, atan, reset=reset) for reset in ("soft", "none")}
    cases |= {f"lif {s.kind}": lif(d, starts, s, strict=True) for s in SURROGATES[1:]}
    cases |= {f"dsn {s.kind}": dsn(d, starts, s, 0.25) for s in SURROGATES[:2]}
    cases |= {f"spike {s.kind}": spike(d, s) for s in SURROGATES}
    cases |= {f"scan {x} {decay}": scan(d, starts, x, decay) for x, decay in SCANS}
    cases |= {f"sliding {lags}": sliding(d, starts, lags) for lags in (1, 4)}
    cases |= {f"conv_dsn {lags}": conv_dsn(d, starts, lags, tau, output) for lags, tau, output in BY_LAGS}
    return cases | {
        "lif membrane": lif(d, starts, atan, output="membrane"),
        "prf membrane": prf(d, starts, atan, reset="soft", output="membrane"),
        "prf integer": prf(d, starts, integer, reset="soft"),
        "dsn integer": dsn(d, starts, integer, 0.5),
        "dsn logarithm": dsn(d, starts, integer, 0.6),
        "dsn membrane": dsn(d, starts, integer, 2.5, output="membrane"),
    }


# one lag; the usual ones; the most of one pass, longer than a tile; two passes
BY_LAGS = [(1, 0.25, "spikes"), (4, 0.5, "membrane"), (8, 0.6, "spikes"), (9, 0.25, "membrane")]
SCANS = [("real", "constant"), ("real", "varying"), ("real", "turning"), ("complex", "turning")]


def gradients(call: Callable[..., tuple[Tensor, ...]], given: list[Tensor]) -> list[Tensor]:
    """Outputs, and the gradients of all inputs under one random cotangent."""
    inputs = [t.detach().clone().requires_grad_() for t in given]
    outputs = call(*inputs)
    noise = torch.Generator().manual_seed(2)
    loss = torch.zeros((), device=given[0].device)
    for out in outputs:
        real = torch.view_as_real(out) if out.is_complex() else out
        loss = loss + (real.float() * torch.randn(real.shape, generator=noise).to(real.device)).sum()
    found = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    return [out.detach() for out in (*outputs, *found)]


def hold(name: str, case: Case) -> None:
    """The kernels' outputs and gradients are the reference's; LIF, PRF and constant scans bit for bit forward."""
    call, given = case
    results = []
    for backend in ("triton", "reference"):
        with spikeseq.backend(backend):
            results.append(gradients(call, given))
            outputs = len(results[-1]) - len(given)
    # a DSN's gate has its own exponential, and torch rounds a complex product its own way
    exact = not name.startswith(("dsn", "conv_dsn")) and "turning" not in name
    for i, (got, wanted) in enumerate(zip(*results, strict=True)):
        assert got.shape == wanted.shape, f"{name}, result {i}"
        assert got.dtype == wanted.dtype, f"{name}, result {i}"
        if not wanted.numel():
            continue
        error = (got - wanted).abs().max().item()
        if i < outputs and exact:
            assert error == 0, f"{name}, output {i}: off by {error}"
        assert error <= 2e-5 * (1 + wanted.abs().max().item()), f"{name}, result {i}: off by {error}"


def hold_narrow(dtype: torch.dtype, size: Size, device: str) -> None:
    """Narrow inputs and outputs, float32 inside: the reference run in float32, its results rounded once."""
    d, starts = draw(size, device), masks(size, device, True)
    x, gate, ones, atan = d["x"].to(dtype), d["gate"].to(dtype), torch.ones_like(d["decay"]), ops.atan()
    neuron = ("soft", False, "spikes", True)

    def calls(run: Any, wide: bool) -> dict[str, Case]:
        def cast(call: Callable[..., tuple[Tensor, ...]], narrow: int) -> Callable[..., tuple[Tensor, ...]]:
            def wrapped(*inputs: Tensor) -> tuple[Tensor, ...]:
                if not wide:
                    return call(*inputs)
                out, *ends = call(*(t.float() for t in inputs[:narrow]), *inputs[narrow:])
                return out.to(dtype), *ends

            return wrapped

        turning, weight, history = d["turning"], d["weight"][:, :4], d["history"][:, :3]
        return {
            "lif": (cast(lambda x, a, v, s: run.lif(x, a, v, ones, s, starts, atan, *neuron), 1),
                    [x, d["decay"], d["threshold"], d["state"]]),
            "prf": (cast(lambda x, a, g, v, z: run.prf(x, a, g, v, ones, z, starts, atan, *neuron), 1),
                    [x, turning, d["gain"], d["threshold"], d["z"]]),
            "dsn": (cast(lambda x, g, s: run.dsn(x, g, 0.25, ones, s, starts, atan, False, "membrane"), 2),
                    [x, gate, d["state"]]),
            "conv_dsn": (cast(lambda x, w, b, s, h: run.conv_dsn(x, w, b, ones, s, h, starts, 0.25, atan, False,
                                                                 "membrane"), 1),
                         [x, weight, d["bias"], d["state"], history]),
            "scan": (cast(lambda x, a, s: run.linear_scan(x, a, s, starts), 2), [x, gate.sigmoid(), d["state"]]),
            "sliding": (cast(lambda x, w, b, h: run.sliding(x, w, b, h, starts), 1), [x, weight, d["bias"], history]),
            "spike": (cast(lambda x, v: run.spike(x, v, atan, False)[:1], 1), [x, d["threshold"]]),
        }  # fmt: skip

    wanted_calls = calls(reference, True)
    for name, (call, given) in calls(gpu, False).items():
        results = gradients(call, given), gradients(wanted_calls[name][0], given)
        for i, (got, wanted) in enumerate(zip(*results, strict=True)):
            assert got.dtype == wanted.dtype, f"{name}, result {i}"
            # where both round to the narrow type, a difference in the last bit of float32 may turn the last bit
            allowed = torch.finfo(dtype).eps if got.dtype == dtype else 2e-5
            error = (got - wanted).abs().max().item()
            assert error <= allowed * (1 + wanted.abs().max().item()), f"{name}, result {i}: off by {error}"


# what is cut along time where it is long and narrow
FORMS = {"lif none": LIF, "prf none": PRF, "scan real constant": LIF,
         "scan complex turning": PRF_MORE, "scan real varying": VARYING, "dsn integer": GATED,
         "conv_dsn 4": CONVOLVED}  # fmt: skip


def hold_in_chunks(name: str, device: str, with_starts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut along time, the kernels give the same, but for the rounding of what enters a chunk. One step is left over."""
    rows = (PRF_MORE if name == "prf none" and with_starts else FORMS[name]).rows
    call, given = every_case((2, 3 * rows + 1, 1), device, with_starts)[name]
    with spikeseq.backend("triton"):
        wanted = gradients(call, given)
        monkeypatch.setattr(split, "LEAST", rows)
        monkeypatch.setattr(split, "GAIN", 3)
        assert split.first_part(given[0], "none", rows) == 3 * rows
        assert split.first_part(given[0], "soft", rows) == 3 * rows + 1
        assert split.chunks_for(given[0][:, : 3 * rows], "none", rows) == 3
        found = gradients(call, given)
    for got, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5 * (1 + expected.abs().max().item()))
