"""The Triton kernels against the reference on a CUDA device."""

from __future__ import annotations

import pytest
import torch

import spikeseq
from spikeseq import ops
from spikeseq.ops import dispatch
from tests.ops.gpu import cases

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        spikeseq.backends()["triton"] is not None or not torch.cuda.is_available(),
        reason=str(spikeseq.backends()["triton"] or "TRITON_INTERPRET is set and there is no CUDA device"),
    ),
]


@pytest.mark.parametrize("name", list(cases.every_case((1, 2, 1), "cpu", False)))
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 33, 17), (2, 257, 130), (3, 600, 64)], ids=str)
@pytest.mark.parametrize("with_starts", [False, True])
def test_kernels_agree_with_the_reference(name: str, size: cases.Size, with_starts: bool) -> None:
    cases.hold(name, cases.every_case(size, "cuda", with_starts)[name])


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
