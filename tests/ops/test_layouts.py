"""Any memory layout of inputs and gradients gives the same answers, and so does any choice of what needs a gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import spikeseq
from spikeseq import ops

B, T, W = 2, 37, 17


def conv_dsn(x: Tensor, a: Tensor, s: Tensor, starts: Tensor | None) -> tuple[Tensor, Tensor]:
    weight, state = torch.stack([a, -a, a * a], 1), (s, torch.stack([s, -s], 1))
    y, (end, history) = ops.conv_dsn(x, weight, a, 0.5, a + 0.3, state, starts, surrogate=ops.atan())
    return y, torch.cat([end.unsqueeze(1), history], 1)


CALLS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "scan": lambda x, a, s, m: ops.linear_scan(x, a, s, m),
    "complex scan": lambda x, a, s, m: ops.linear_scan(
        torch.complex(x, -x), torch.complex(a, 0.3 * a), torch.complex(s, s), m
    ),
    "varying scan": lambda x, a, s, m: ops.linear_scan(x, (x * a).sigmoid(), s, m),
    "lif": lambda x, a, s, m: ops.lif(x, a, 0.8, s, m),
    "lif hard": lambda x, a, s, m: ops.lif(x, a, a + 0.3, s, m, reset="hard"),
    "lif none": lambda x, a, s, m: ops.lif(x, a, a + 0.3, s, m, reset="none"),
    "prf": lambda x, a, s, m: ops.prf(x, torch.polar(a, 3 * a), a, 0.8, torch.complex(s, s), m),
    "prf soft": lambda x, a, s, m: ops.prf(x, torch.polar(a, 3 * a), a, a + 0.3, torch.complex(s, s), m, reset="soft"),
    "dsn": lambda x, a, s, m: ops.dsn(x, x * a, 0.5, a + 0.3, s, m, surrogate=ops.atan()),
    "conv dsn": conv_dsn,
    "sliding": lambda x, a, s, m: ops.sliding(x, torch.stack([a, -a, a * a], 1), a, torch.stack([s, -s], 1), m),
}  # fmt: skip
NO_FFT = ("varying scan", "lif hard", "dsn", "conv dsn", "sliding")


@pytest.fixture(params=["reference", "torch", "native", "fft"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    if spikeseq.backends()[request.param] is not None:
        pytest.skip(str(spikeseq.backends()[request.param]))
    with spikeseq.backend(request.param):
        yield request.param


def dtype_of(backend: str) -> torch.dtype:
    return torch.float32 if backend == "native" else torch.float64


def real(t: Tensor) -> Tensor:
    return torch.view_as_real(t.resolve_conj()) if t.is_complex() else t


def agree(a: Tensor, b: Tensor) -> bool:
    tolerance = 1e-5 if real(a).dtype == torch.float32 else 1e-11
    return torch.allclose(real(a), real(b), rtol=tolerance, atol=tolerance * 10)


def given(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(11)
    return (
        torch.randn(B, T, W, dtype=dtype) * 1.5,
        torch.rand(W, dtype=dtype) * 0.8 + 0.1,
        torch.randn(B, W, dtype=dtype),
    )


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.clone(),
    "second axis first": lambda x: x.transpose(0, x.ndim // 2).contiguous().transpose(0, x.ndim // 2),
    "width first": lambda x: x.transpose(-1, 0).contiguous().transpose(-1, 0),
    "every second": lambda x: torch.stack([x, x + 9], -1).flatten(-2)[..., ::2],
    "a window": lambda x: torch.nn.functional.pad(x, (3, 2), value=torch.nan)[..., 3:-2],
    "off by one float": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "negated": lambda x: torch._neg_view(-x),  # pyright: ignore[reportPrivateImportUsage]
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
def test_layout_of_every_argument(name: str, layout: str, backend: str) -> None:
    if backend == "fft" and name in NO_FFT:
        return
    call, lay = CALLS[name], LAYOUTS[layout]
    x, a, s = given(dtype_of(backend))
    wanted = call(x, a, s, None)
    moved = lay(x), lay(a), lay(s)
    assert all(torch.equal(m, p) for m, p in zip(moved, (x, a, s), strict=True))
    for got, want in zip(call(*moved, None), wanted, strict=True):
        assert agree(got, want)
    assert all(torch.equal(m, p) for m, p in zip(moved, (x, a, s), strict=True)), "an argument was written to"


@pytest.mark.parametrize("name", CALLS)
def test_zero_strides(name: str, backend: str) -> None:
    if backend == "fft" and name in NO_FFT:
        return
    dtype = dtype_of(backend)
    pulse = torch.tensor(0.7, dtype=dtype)
    x, a, s = pulse.expand(B, T, W), pulse.expand(W), pulse.expand(B, W)
    for got, want in zip(CALLS[name](x, a, s, None), CALLS[name](x.clone(), a.clone(), s.clone(), None), strict=True):
        assert agree(got, want)


@pytest.mark.parametrize("name", [n for n in CALLS if n != "varying scan"])
def test_layout_of_starts(name: str, backend: str) -> None:
    if backend == "fft":
        return
    x, a, s = given(dtype_of(backend))
    starts = torch.rand(B, T) < 0.2
    for moved in (starts.t().contiguous().t(), torch.stack([starts, ~starts], -1)[..., 0], starts[:1].expand(B, T)):
        for got, want in zip(CALLS[name](x, a, s, moved), CALLS[name](x, a, s, moved.clone()), strict=True):
            assert agree(got, want)


@pytest.mark.parametrize("name", CALLS)
def test_layout_of_incoming_gradients(name: str, backend: str) -> None:
    if backend == "fft" and name in NO_FFT:
        return
    values = given(dtype_of(backend))

    def gradients(shape_grads: Callable[[Tensor], Tensor]) -> list[Tensor]:
        leaves = [v.clone().requires_grad_() for v in values]
        y, end = CALLS[name](*leaves, None)
        noise = torch.Generator().manual_seed(1)
        grads = [shape_grads(torch.randn(v.shape, generator=noise, dtype=v.dtype)) for v in (y, end)]
        return list(torch.autograd.grad((y, end), leaves, grads))

    wanted = gradients(lambda g: g)
    for lay in LAYOUTS.values():
        for got, want in zip(gradients(lay), wanted, strict=True):
            assert agree(got, want)
    lazy = gradients(lambda g: g.conj().resolve_conj().conj() if g.is_complex() else g)
    for got, want in zip(lazy, wanted, strict=True):
        assert agree(got, want)
    ones = gradients(torch.ones_like)
    for got, want in zip(gradients(lambda g: g.new_ones(()).expand(g.shape)), ones, strict=True):
        assert agree(got, want)


@pytest.mark.parametrize("width", [1, 3])
def test_lazy_conjugates(backend: str, width: int) -> None:
    """`z.conj()` is a view that says "conjugate me": a kernel that reads the memory must do so."""
    dtype = torch.complex64 if backend == "native" else torch.complex128
    x, z = torch.randn(B, T, width, dtype=dtype), torch.randn(B, width, dtype=dtype)
    a = torch.polar(torch.rand(width, dtype=real(x).dtype), torch.rand(width, dtype=real(x).dtype) * 3)
    for lazy in ((x.conj(), a, z), (x, a.conj(), z), (x, a, z.conj())):
        plain = [t.resolve_conj() for t in lazy]
        for got, want in zip(ops.linear_scan(*lazy), ops.linear_scan(*plain), strict=True):
            assert agree(got, want)
        if not lazy[0].is_conj():
            for got, want in zip(
                ops.prf(x.real, lazy[1], 1.0, 0.5, lazy[2]), ops.prf(x.real, plain[1], 1.0, 0.5, plain[2]), strict=True
            ):
                assert agree(got, want)
    leaf = x.clone().requires_grad_()
    y, end = ops.linear_scan(leaf, a, z)
    (y.conj() * y).real.sum().add((end.conj() * (1 + 2j)).real.sum()).backward()
    other = x.clone().requires_grad_()
    with spikeseq.backend("reference"):
        y, end = ops.linear_scan(other, a, z)
    (y.conj() * y).real.sum().add((end.conj() * (1 + 2j)).real.sum()).backward()
    assert leaf.grad is not None
    assert other.grad is not None
    assert agree(leaf.grad, other.grad)


@pytest.mark.parametrize("name", CALLS)
def test_any_subset_of_gradients(name: str, backend: str) -> None:
    """Only the input, the parameters or the state needs one; the output or the state unused: the same numbers."""
    if backend == "fft" and name in NO_FFT:
        return
    values = given(dtype_of(backend))

    def gradients(wanted: tuple[bool, ...], used: str) -> list[Tensor | None]:
        leaves = [v.clone().requires_grad_(w) for v, w in zip(values, wanted, strict=True)]
        y, end = CALLS[name](*leaves, None)
        loss = torch.zeros((), dtype=values[0].dtype)
        if "y" in used:
            loss = loss + (real(y) * torch.linspace(-1, 2, real(y).numel(), dtype=loss.dtype).view(real(y).shape)).sum()
        if "z" in used:
            loss = loss + real(end).square().sum()
        picked = [leaf for leaf in leaves if leaf.requires_grad]
        if not loss.requires_grad:
            return [None] * 3
        found = iter(torch.autograd.grad(loss, picked, materialize_grads=True))
        return [next(found) if leaf.requires_grad else None for leaf in leaves]

    for used in ("yz", "y", "z"):
        everything = gradients((True, True, True), used)
        for wanted in itertools.product([False, True], repeat=3):
            if not any(wanted):
                continue
            for got, want in zip(gradients(wanted, used), everything, strict=True):
                if got is not None:
                    assert want is not None
                    assert agree(got, want)
    both, only_y, only_z = (gradients((True, True, True), used) for used in ("yz", "y", "z"))
    for total, a, b in zip(both, only_y, only_z, strict=True):
        assert total is not None
        assert a is not None
        assert b is not None
        assert agree(total, a + b)


@pytest.mark.parametrize("name", CALLS)
def test_without_grad_mode(name: str, backend: str) -> None:
    if backend == "fft" and name in NO_FFT:
        return
    x, a, s = given(dtype_of(backend))
    wanted = CALLS[name](x.requires_grad_(), a.requires_grad_(), s.requires_grad_(), None)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = CALLS[name](x, a, s, None)
        for got, want in zip(found, wanted, strict=True):
            assert not got.requires_grad
            assert agree(got, want.detach())


@pytest.mark.parametrize("name", CALLS)
def test_backward_twice(name: str, backend: str) -> None:
    """retain_graph gives the same gradient again: backward leaves what it saved as it was."""
    if backend == "fft" and name in NO_FFT:
        return
    leaves = [v.requires_grad_() for v in given(dtype_of(backend))]
    y, end = CALLS[name](*leaves, None)
    loss = real(y).square().sum() + real(end).sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    second = torch.autograd.grad(loss, leaves)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(real(a), real(b))


@pytest.mark.parametrize("name", CALLS)
def test_the_returned_state_is_no_window_on_the_output(name: str, backend: str) -> None:
    """Who writes into the output or the input must not change the state that he carries on."""
    if backend == "fft" and name in NO_FFT:
        return
    x, a, s = given(dtype_of(backend))
    y, end = CALLS[name](x, a, s, None)
    before = end.clone()
    y.zero_()
    assert torch.equal(end, before)
    x.zero_()
    assert torch.equal(end, before)


def test_an_input_changed_after_the_forward_pass_is_noticed(backend: str) -> None:
    """Backward recomputes from the saved input: it must raise, as torch does, and not use the new numbers."""
    x, a, s = given(dtype_of(backend))
    weight = torch.ones(W, dtype=x.dtype, requires_grad=True)
    driven = x * weight
    y, _ = ops.lif(driven, a.requires_grad_(), 0.8, s)
    if backend == "native":
        driven.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
