"""The Triton kernels in Triton's interpreter, on tiny CPU tensors. test_interpreter.py runs this in its own process,
because Triton reads TRITON_INTERPRET when a kernel is defined."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import spikeseq
from spikeseq import BackendError, ops
from spikeseq.ops import dispatch
from spikeseq.ops.gpu import gated, launch, membranes, split
from spikeseq.ops.gpu.words import words_of
from tests.ops.gpu import cases

# 131 steps: two blocks of 64 rows forward, four tiles of 32 or eight of 16 backward, and steps left over
LONG, WIDE = (1, 131, 3), (2, 9, 70)
MANY = list(cases.every_case((1, 2, 1), "cpu", False))
SHORT = ["lif soft", "prf soft", "dsn atan", "scan complex turning", "scan real varying", "conv_dsn 4", "sliding 4",
         "spike atan"]  # fmt: skip


def test_the_sizes_reach_every_loop() -> None:
    for form in cases.FORMS.values():
        assert LONG[1] // form.rows >= 2
        assert LONG[1] % form.tile
        assert LONG[1] % form.rows
    assert WIDE[2] > launch.BLOCK >= max(form.forward for form in cases.FORMS.values())


@pytest.mark.parametrize("name", MANY)
def test_long_with_starts(name: str) -> None:
    cases.hold(name, cases.every_case(LONG, "cpu", True)[name])


def test_long_without_starts() -> None:
    """Where PRF takes larger tiles."""
    cases.hold("prf none", cases.every_case(LONG, "cpu", False)["prf none"])


def test_starts_that_no_word_can_hold_are_refused() -> None:
    form = launch.Form(tile=32, before=8)
    assert words_of(None, form) is None
    with pytest.raises(ValueError, match="a word of starts has 32 bits"):
        words_of(torch.zeros(1, 40, dtype=torch.bool), form)


@pytest.mark.parametrize("name", SHORT[:5])
def test_programs_of_several_warps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, forms in ((membranes, ("LIF", "PRF", "PRF_MORE")), (gated, ("VARYING", "GATED"))):
        for form in forms:
            wide = dataclasses.replace(getattr(module, form), forward=128, backward=64)
            monkeypatch.setattr(module, form, wide)
    cases.hold(name, cases.every_case((2, 35, 130), "cpu", True)[name])


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("size", [WIDE, (1, 1, 1), (1, 16, 1)], ids=str)
def test_other_sizes_without_starts(name: str, size: cases.Size) -> None:
    cases.hold(name, cases.every_case(size, "cpu", False)[name])


@pytest.mark.parametrize(("name", "starts"), [*((name, True) for name in cases.FORMS), ("prf none", False),
                                               ("conv_dsn 4", False)])  # fmt: skip
def test_time_in_chunks(name: str, starts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long, narrow input is cut along time: the same, but for the rounding of what enters a chunk."""
    cases.hold_in_chunks(name, "cpu", starts, monkeypatch)


@pytest.mark.parametrize("name", SHORT)
def test_any_memory_layout(name: str) -> None:
    call, given = cases.every_case((2, 3, 2), "cpu", False)[name]
    turned = [t if t.ndim < 2 else t.transpose(0, -1).contiguous().transpose(0, -1) for t in given]
    with spikeseq.backend("triton"):
        for got, wanted in zip(cases.gradients(call, turned), cases.gradients(call, given), strict=True):
            assert torch.equal(got, wanted)


def test_bfloat16() -> None:
    cases.hold_narrow(torch.bfloat16, (2, 19, 5), "cpu")


@pytest.mark.parametrize("name", SHORT[:4])
def test_without_gradients(name: str) -> None:
    """No checkpoints are kept, and the outputs are the same."""
    call, given = cases.every_case((1, 35, 2), "cpu", True)[name]
    with spikeseq.backend("triton"):
        with_grad = call(*(t.clone().requires_grad_() for t in given))
        without = call(*given)
    for a, b in zip(with_grad, without, strict=True):
        assert torch.equal(a, b)


def test_narrow_inputs_go_to_the_kernels_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the neuron's laws hold on them: spikes, gradients and state as from the same values in float32."""
    from spikeseq.ops.gpu import membranes

    read: list[torch.dtype] = []
    kernels = membranes.run
    monkeypatch.setattr(membranes, "run", lambda *a, **k: (read.append(k["x"].dtype), kernels(*a, **k)))
    x = torch.randn(2, 19, 3).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    with spikeseq.backend("triton"):
        for values in (x, wide):
            spikes, end = ops.lif(values, 0.9)
            (spikes.float().sum() + end.sum()).backward()
            assert spikes.dtype == values.dtype
            assert end.dtype == torch.float32
    assert read == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert x.grad is not None
    assert wide.grad is not None
    # the interpreter cuts a float32 to a bfloat16, a device rounds it
    torch.testing.assert_close(x.grad.float(), wide.grad, rtol=2**-7, atol=0)


@pytest.mark.parametrize("tau", [0.25, 1.0, 0.7])
def test_a_long_memory_at_rest_stays_there(tau: float) -> None:
    gates = torch.tensor([6.0, 12.0, 16.7]).expand(1, 67, 3).contiguous()
    with spikeseq.backend("triton"):
        membrane, _ = ops.dsn(torch.ones(1, 67, 3), gates, tau, state=torch.ones(1, 3), output="membrane")
    assert (membrane - 1).abs().max() < 1e-6


def test_double_backward() -> None:
    x, decay = torch.randn(2, 5, 3), torch.rand(3)
    results = []
    for backend in ("triton", "reference"):
        inputs = [x.clone().requires_grad_(), decay.clone().requires_grad_()]
        with spikeseq.backend(backend):
            membrane, _ = ops.linear_scan(*inputs)
            first = torch.autograd.grad(membrane.square().sum(), inputs, create_graph=True)
        results.append(torch.autograd.grad(first[0].square().sum() + first[1].square().sum(), inputs))
    for got, wanted in zip(*results, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4)


def test_auto_leaves_cpu_tensors_to_others() -> None:
    request = dispatch.Request("lif", torch.device("cpu"), torch.float32)
    assert not dispatch.choose(request).__name__.endswith("gpu")
    with spikeseq.backend("triton"):
        assert dispatch.choose(request).__name__.endswith("gpu")


def test_refusals() -> None:
    x = torch.randn(1, 2, 3)
    with spikeseq.backend("triton"):
        with pytest.raises(BackendError, match="its state is float32"):
            ops.lif(x.double(), 0.9)
        with pytest.raises(BackendError, match="reference"):
            ops.lif(x, 0.9, detach_reset=False)
        with pytest.raises(BackendError, match="varies in time"):
            ops.linear_scan(x, torch.randn(1, 2, 3, dtype=torch.complex64))
        with pytest.raises(BackendError, match="one a channel"):
            ops.spike(x, torch.ones(2, 1))


@pytest.mark.parametrize("name", ["lif soft", "prf soft", "dsn integer", "conv_dsn 4", "scan real varying"])
def test_outputs_may_be_changed_in_place(name: str) -> None:
    """As those of the other backends: they are no views of anything."""
    call, given = cases.every_case((2, 5, 3), "cpu", True)[name]
    with spikeseq.backend("triton"):
        out, end, *_ = call(*(t.clone().requires_grad_() for t in given))
        out.mul_(2.0)
        end.mul_(2.0)
        (out.abs().sum() + end.abs().sum()).backward()


@pytest.mark.parametrize("name", ["lif soft", "prf soft", "dsn integer"])
def test_nothing_is_kept_for_a_backward_pass_that_cannot_come(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeseq.ops.gpu import gated, membranes

    made: list[int] = []
    for module in (gated, membranes):
        keep = module.checkpoints_for
        monkeypatch.setattr(module, "checkpoints_for", lambda *a, keep=keep, **k: (made.append(1), keep(*a, **k))[1])
    call, given = cases.every_case((2, 5, 3), "cpu", False)[name]
    given = [t.clone().requires_grad_() for t in given]
    with spikeseq.backend("triton"):
        with torch.no_grad():
            call(*given)
        call(*(t.detach() for t in given))
        assert not made
        call(*given)
        assert made


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_start_clears_a_product_of_decays_that_overflowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LEAST", 64)
    monkeypatch.setattr(split, "GAIN", 3)
    starts = torch.zeros(1, 256, dtype=torch.bool)
    starts[:, 60] = True
    decay = torch.full((1, 256, 1), 5.0)
    decay[:, 60:] = 0.5
    x = torch.zeros(1, 256, 1)
    x[:, -1] = 1.0
    for varying in (decay, torch.full((1,), 0.5)):
        results = []
        for backend in ("triton", "reference"):
            with spikeseq.backend(backend):
                results.append(ops.linear_scan(x, varying, None, starts))
        for got, wanted in zip(*results, strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
def test_half_complex_numbers_are_widened() -> None:
    x, decay = torch.randn(1, 5, 3, dtype=torch.complex64), torch.full((3,), 0.9 + 0.1j)
    with spikeseq.backend("triton"):
        got, wanted = (ops.linear_scan(value, decay)[1] for value in (x.to(torch.complex32), x))
    assert torch.allclose(got, wanted, atol=1e-2)
