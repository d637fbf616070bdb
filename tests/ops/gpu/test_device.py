"""The Triton kernels against the reference on a CUDA device."""

from __future__ import annotations

import warnings

import pytest
import torch

import spikeseq
from spikeseq import ops
from spikeseq.ops import dispatch
from spikeseq.ops.gpu import split
from tests.ops.gpu import cases

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        spikeseq.backends()["triton"] is not None or not torch.cuda.is_available(),
        reason=str(spikeseq.backends()["triton"] or "TRITON_INTERPRET is set and there is no CUDA device"),
    ),
]


@pytest.mark.parametrize("name", list(cases.every_case((1, 2, 1), "cpu", False)))
@pytest.mark.parametrize(
    ("size", "with_starts"), [((1, 1, 1), False), ((3, 33, 17), True), ((2, 257, 130), False), ((3, 600, 64), True)]
)
def test_kernels_agree_with_the_reference(name: str, size: cases.Size, with_starts: bool) -> None:
    cases.hold(name, cases.every_case(size, "cuda", with_starts)[name])


@pytest.mark.parametrize("name", cases.FORMS)
@pytest.mark.parametrize("with_starts", [False, True])
def test_time_in_chunks(name: str, with_starts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cases.hold_in_chunks(name, "cuda", with_starts, monkeypatch)


def test_as_long_as_is_cut_by_itself() -> None:
    size = (2, split.GAIN * split.LEAST, 5)
    d, starts = cases.draw(size, "cuda"), cases.masks(size, "cuda", True)
    assert split.chunks_for(d["x"], "none", cases.CONVOLVED.rows) == split.GAIN
    cases.hold("conv_dsn", cases.conv_dsn(d, starts, 4, 0.5, "membrane"))
    cases.hold("scan turning", cases.scan(d, starts, "real", "turning"))


def test_more_than_2_to_the_31_elements() -> None:
    """The last rows are what they are alone: no offset overflows."""
    size = (2100, 1024, 1024)
    if torch.cuda.mem_get_info()[0] < 16 * size[0] * size[1] * size[2]:
        pytest.skip("needs 35 GB of the device's memory")
    x = torch.zeros(size, dtype=torch.bfloat16, device="cuda")
    few = split.FILL // (split.GAIN * size[2]) + 1  # too many to be cut along time
    x[-few:] = torch.randn(few, *size[1:], device="cuda")
    turning, weight = torch.full((1024,), 0.9 + 0.1j, device="cuda"), torch.randn(1024, 4, device="cuda")
    calls = [lambda x: ops.lif(x, 0.9)[0], lambda x: ops.prf(x, turning, 1.0)[0], lambda x: ops.conv_dsn(x, weight)[0],
             lambda x: ops.dsn(x, x)[0], lambda x: ops.sliding(x, weight)[0], lambda x: ops.spike(x)]  # fmt: skip
    for call in calls:
        results = []
        for rows in (x, x[-few:]):
            given = rows.detach().requires_grad_()
            out = call(given)
            (grad,) = torch.autograd.grad(out, given, torch.ones_like(out))
            results.append((out[-few:].detach().clone(), grad[-few:].clone()))
            del out, grad
        for got, wanted in zip(*results, strict=True):
            assert torch.equal(got, wanted)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_kernels_run_where_the_input_lies() -> None:
    cases.hold("conv_dsn 4", cases.every_case((2, 9, 70), "cuda:1", True)["conv_dsn 4"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs(dtype: torch.dtype) -> None:
    cases.hold_narrow(dtype, (3, 100, 70), "cuda")


def test_auto_takes_triton_for_cuda() -> None:
    request = dispatch.Request("lif", torch.device("cuda"), torch.float32)
    assert dispatch.choose(request).__name__.endswith("gpu")


def test_a_million_decisions_bit_for_bit() -> None:
    x, decay = torch.randn(8, 1024, 128, device="cuda"), torch.linspace(0.0, 0.999, 128, device="cuda")
    results = []
    for backend in ("triton", "reference"):
        with spikeseq.backend(backend):
            results.append(ops.lif(x, decay, 0.7))
    for got, wanted in zip(*results, strict=True):
        assert torch.equal(got, wanted)


NEURONS = {
    "lif": lambda: spikeseq.LIF(40, 0.9, rho=0.8),
    "lif trained": lambda: spikeseq.LIF(40, 0.9, train_decay=True),
    "prf": lambda: spikeseq.PRF(40),
    "dsn": lambda: spikeseq.DSN(40),
    "sliding psn": lambda: spikeseq.SlidingPSN(40),
}


@pytest.mark.parametrize("name", NEURONS)
@pytest.mark.parametrize("time", [50, split.GAIN * split.LEAST])
def test_nothing_waits_for_the_device(name: str, time: int) -> None:
    """Neither a forward nor a backward pass: the host runs ahead, and a CUDA graph can hold both and gives the same."""
    neuron, x = NEURONS[name]().cuda(), torch.randn(2, time, 40, device="cuda", requires_grad=True)
    inputs = [x, *neuron.parameters()]

    def both() -> list[torch.Tensor]:
        out, _ = neuron(x)
        return [out, *torch.autograd.grad(out.square().sum(), inputs)]

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        wanted = [result.detach().clone() for result in both()]
    torch.cuda.synchronize()
    try:
        with warnings.catch_warnings():  # torch says that this mode is a prototype
            warnings.simplefilter("ignore", UserWarning)
            torch.cuda.set_sync_debug_mode("error")
        both()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = both()
    for result in found:
        result.detach().fill_(torch.nan)
    graph.replay()
    for got, expected in zip(found, wanted, strict=True):
        assert torch.equal(got, expected)
