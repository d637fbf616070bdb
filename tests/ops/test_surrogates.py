"""Each spike function against its stated formula, on every backend."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import spikeseq
from spikeseq import ops
from spikeseq.ops import Surrogate

FORMULAS = {
    "atan": lambda z, p: (p / 2) / (1 + (math.pi * p * z / 2) ** 2),
    "rect": lambda z, p: 1 / p if abs(z) < p / 2 else 0.0,
    "sigmoid": lambda z, p: p / (2 * math.cosh(p * z / 2)) ** 2 * 1.0,
    "triangle": lambda z, p: max(0.0, 1 - abs(z) / p) / p,
}
MADE = {"atan": ops.atan, "rect": ops.rect, "sigmoid": ops.sigmoid, "triangle": ops.triangle}
Z = torch.cat(
    [
        torch.linspace(-3, 3, 97, dtype=torch.float64),
        torch.tensor([0.0, 0.25, -0.25, 0.5, -0.5, 1.0, -1.0], dtype=torch.float64),
    ]
)


def need(backend: str) -> None:
    if spikeseq.backends()[backend] is not None:
        pytest.skip(str(spikeseq.backends()[backend]))


def through(op: str, u: Tensor, threshold: Tensor, surrogate: Surrogate, strict: bool = False) -> Tensor:
    """The spikes of membranes `u` [points], each point a channel of its own: no decay, so the input is the membrane."""
    x = u.view(1, 1, -1)
    if op == "spike":
        return ops.spike(x, threshold, surrogate, strict).flatten()
    if op == "lif none":
        return ops.lif(x, 0.0, threshold, surrogate=surrogate, strict=strict, reset="none")[0].flatten()
    if op == "lif soft":
        return ops.lif(x, 0.0, threshold, surrogate=surrogate, strict=strict)[0].flatten()
    if op == "lif hard":
        return ops.lif(x, 0.0, threshold, surrogate=surrogate, strict=strict, reset="hard")[0].flatten()
    if op == "prf none":
        return ops.prf(x, 0j, 1.0, threshold, surrogate=surrogate, strict=strict)[0].flatten()
    if op == "prf soft":
        return ops.prf(x, 0j, 1.0, threshold, surrogate=surrogate, strict=strict, reset="soft")[0].flatten()
    gate = torch.full_like(x, -1e4)  # alpha = 0, so u = x
    return ops.dsn(x, gate, 0.25, threshold, surrogate=surrogate, strict=strict)[0].flatten()


OPS = ("spike", "lif none", "lif soft", "lif hard", "prf none", "prf soft", "dsn")
# dyadic parameters and thresholds, so that the edges of rect and triangle are hit exactly in float32 too
CASES = [
    ("atan", 2.0),
    ("atan", 0.5),
    ("rect", 1.0),
    ("rect", 0.5),
    ("sigmoid", 4.0),
    ("sigmoid", 1.0),
    ("triangle", 1.0),
    ("triangle", 2.0),
]


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("kind", "parameter"), CASES)
def test_binary_kinds(kind: str, parameter: float, op: str, backend: str) -> None:
    need(backend)
    dtype = torch.float32 if backend == "native" else torch.float64
    u = (Z + 0.5).to(dtype).requires_grad_()
    threshold = torch.full((len(Z),), 0.5, dtype=dtype, requires_grad=True)
    upstream = torch.linspace(0.5, 2.0, len(Z), dtype=dtype)
    with spikeseq.backend(backend):
        spikes = through(op, u, threshold, MADE[kind](parameter))
        spikes.backward(upstream)
    assert torch.equal(spikes.detach(), (Z >= 0).to(dtype))
    wanted = torch.tensor([FORMULAS[kind](z, parameter) for z in Z.tolist()], dtype=dtype) * upstream
    assert u.grad is not None
    assert threshold.grad is not None
    assert torch.allclose(u.grad, wanted, rtol=1e-5, atol=1e-6)
    assert torch.allclose(threshold.grad, -wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("op", [op for op in OPS if "hard" not in op])
@pytest.mark.parametrize("levels", [1, 3, 4])
@pytest.mark.parametrize("threshold", [1.0, 0.5])
def test_integer_spikes(levels: int, threshold: float, op: str, backend: str) -> None:
    """round(clip(u / V, 0, N)), halves to even; straight through (1 / V) where 0 <= u / V <= N, both ends included."""
    need(backend)
    dtype = torch.float32 if backend == "native" else torch.float64
    ratio = torch.cat(
        [torch.linspace(-2, levels + 2, 131), torch.arange(-1.0, levels + 1.5, 0.5), torch.tensor([0.0, levels])]
    )
    u = (ratio * threshold).to(dtype).requires_grad_()
    v = torch.full_like(ratio, threshold, dtype=dtype, requires_grad=True)
    with spikeseq.backend(backend):
        spikes = through(op, u, v, ops.integer(levels))
        spikes.sum().backward()
    r = u.detach() / threshold
    assert torch.equal(spikes.detach(), r.clamp(0, levels).round())
    inside = ((r >= 0) & (r <= levels)).to(dtype)
    assert u.grad is not None
    assert v.grad is not None
    assert torch.allclose(u.grad, inside / threshold)
    assert torch.allclose(v.grad, -inside * r / threshold, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
@pytest.mark.parametrize("op", OPS)
def test_strict_decides_ties(op: str, backend: str) -> None:
    need(backend)
    u = torch.tensor([0.5, 1.0, 1.5])
    with spikeseq.backend(backend):
        assert through(op, u, torch.ones(3), ops.atan()).tolist() == [0, 1, 1]
        assert through(op, u, torch.ones(3), ops.atan(), strict=True).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("kind", "parameter"), CASES)
def test_they_integrate_to_one(kind: str, parameter: float) -> None:
    """A surrogate derivative is a smeared delta. atan's tail beyond z holds 2 / (pi^2 alpha z)."""
    z = torch.linspace(-400, 400, 4_000_001, dtype=torch.float64)
    mass = torch.trapezoid(MADE[kind](parameter).derivative(z, torch.tensor(0.0)), z).item()
    tail = 2 / (math.pi**2 * parameter * 400) * 2 if kind == "atan" else 0.0
    assert mass + tail == pytest.approx(1.0, abs=5e-4)


def test_the_default_is_one_over_one_plus_pi_z_squared() -> None:
    z = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    ops.spike(z, 0.0).sum().backward()
    assert z.grad is not None
    assert torch.allclose(z.grad, 1 / (1 + (math.pi * z.detach()) ** 2))


def test_the_parameter_is_never_ignored() -> None:
    """spikingjelly had surrogates whose parameter did nothing."""
    z = torch.tensor([0.1])
    for made in MADE.values():
        assert made(1.0).derivative(z, torch.zeros(1)).item() != made(3.0).derivative(z, torch.zeros(1)).item()
    assert spikeseq.LIF(2, surrogate=ops.atan(5.0)).surrogate.parameter == 5.0
    assert ops.integer(2).fire(torch.tensor([9.0]), torch.ones(1), False).item() == 2


@pytest.mark.parametrize("levels", [1, 4, 16])
def test_integer_spikes_run_as_unary_spikes(levels: int) -> None:
    """W s = sum_d W s_d with s_d in {0, 1}: exact in integers, and a bias enters once."""
    s = ops.spike(torch.rand(5, 7, 9) * (levels + 2) - 1, 1.0, ops.integer(levels))
    weight, bias = torch.randint(-8, 8, (6, 9)).float(), torch.randint(-8, 8, (6,)).float()
    unary = [(s >= d).float() for d in range(1, levels + 1)]
    assert all(bool(((u == 0) | (u == 1)).all()) for u in unary)
    assert torch.equal(s @ weight.T + bias, torch.stack([u @ weight.T for u in unary]).sum(0) + bias)
    assert s.max() == levels


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["reference", "torch", "native"])
def test_integer_spikes_that_the_input_dtype_cannot_hold_are_refused_or_exact(backend: str, dtype: torch.dtype) -> None:
    """bfloat16 counts to 256 and float16 to 2048: a spike of 257 must not quietly become 256, nor 70,000 infinity."""
    need(backend)
    levels = {torch.bfloat16: 300, torch.float16: 2**17}[dtype]
    wanted = {torch.bfloat16: 257.0, torch.float16: 70_000.0}[dtype]
    x = torch.tensor([[[wanted / 1000]]], dtype=torch.float32)
    x = x.to(dtype)
    threshold = x.float().item() / wanted
    try:
        with spikeseq.backend(backend):
            spikes, _ = ops.lif(x, 0.5, threshold, surrogate=ops.integer(levels))
    except (TypeError, ValueError) as error:
        assert "levels" in str(error) or "integer" in str(error)  # noqa: PT017
    else:
        assert spikes.item() == wanted


@pytest.mark.parametrize("parameter", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", MADE)
def test_bad_parameters(kind: str, parameter: float) -> None:
    with pytest.raises(ValueError, match=kind):
        MADE[kind](parameter)


@pytest.mark.parametrize("levels", [0, -3, 2.5, math.nan, 2**21])
def test_bad_levels(levels: float) -> None:
    with pytest.raises(ValueError, match="levels"):
        ops.integer(levels)  # pyright: ignore[reportArgumentType]


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"expected one of .*atan.*'step'"):
        Surrogate("step", 1.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("surrogate", [ops.atan(), ops.integer(3)], ids=str)
@pytest.mark.parametrize("rows", [1, 100], ids=["few", "many"])
def test_spikes_without_gradient_are_the_spikes(surrogate: ops.Surrogate, rows: int) -> None:
    """Few values without gradient take a shorter way, at any number of them."""
    membrane = torch.randn(rows, 256) * 2
    with torch.no_grad():
        short = ops.spike(membrane, 0.7, surrogate)
    with spikeseq.backend("reference"):
        assert torch.equal(short, ops.spike(membrane, 0.7, surrogate))
    with torch.no_grad(), pytest.raises(ValueError, match="expected finite membrane, got nan"):
        ops.spike(torch.full((rows, 256), torch.nan), 0.7, surrogate)


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("surrogate", [ops.atan(), ops.rect(), ops.integer(3)], ids=str)
def test_an_infinite_gradient_stays_where_it_came(backend: str, surrogate: Surrogate) -> None:
    """A loss scaler looks for infinity where it arose, and the neighbours' gradients are none of its business."""
    need(backend)
    membrane, above = torch.randn(40, 70), torch.randn(40, 70)
    above[17, 3] = math.inf
    found = []
    for name in (backend, "reference"):
        leaf = membrane.clone().requires_grad_()
        with spikeseq.backend(name):
            found.append(torch.autograd.grad(ops.spike(leaf, 0.7, surrogate), leaf, above)[0])
    assert torch.allclose(*found, rtol=1e-5, equal_nan=True)
    assert int((~found[0].isfinite()).sum()) == 1


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize("surrogate", [ops.atan(), ops.sigmoid(), ops.integer(3)], ids=str)
@given(st.integers(1, 70), st.integers(1, 150))
def test_spikes_of_rows_of_any_size(backend: str, surrogate: Surrogate, rows: int, width: int) -> None:
    need(backend)
    membrane, threshold, above = torch.randn(rows, width), torch.rand(width) + 0.5, torch.randn(rows, width)
    found = []
    for name in (backend, "reference"):
        leaves = [t.clone().requires_grad_() for t in (membrane, threshold)]
        with spikeseq.backend(name):
            spikes = ops.spike(leaves[0], leaves[1], surrogate)
            first = torch.autograd.grad(spikes, leaves, above, create_graph=True)
            second = torch.autograd.grad(first[0].square().sum() + first[1].square().sum(), leaves)
            found.append(
                [
                    spikes,
                    *first,
                    *second,
                    *torch.autograd.grad(ops.spike(leaves[0], leaves[1], surrogate), leaves, above),
                ]
            )
    assert torch.equal(found[0][0], found[1][0])
    for got, wanted in zip(*found, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.detach().abs().max()) + 1e-6)
