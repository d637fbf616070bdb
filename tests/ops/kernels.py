"""What the tests of the native kernels share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import spikeseq


def need_native() -> None:
    if spikeseq.backends()["native"] is not None:
        pytest.skip(str(spikeseq.backends()["native"]))


def make_starts(batch: int, time: int, kind: str) -> Tensor | None:
    if kind == "none":
        return None
    starts = torch.rand(batch, time) < 0.1
    starts[0, 0] = starts[-1, -1] = True
    return starts


def both(call) -> list[list[Tensor]]:
    results = []
    for name in ("native", "reference"):
        with spikeseq.backend(name):
            results.append(list(call()))
    return results


def gradients(call, *given: Tensor) -> list[Tensor]:
    inputs = [t.detach().clone().requires_grad_() for t in given]
    y, end = call(*inputs)
    noise = torch.Generator().manual_seed(2)
    loss = (y * torch.randn(y.shape, generator=noise)).sum() + (
        torch.view_as_real(end) if end.is_complex() else end
    ).square().sum()
    return [y, end, *torch.autograd.grad(loss, inputs)]


def unpacked(result: tuple[Tensor, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    y, (end, history) = result
    return y, torch.cat([end.unsqueeze(1), history], 1)


def viewed(result: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return torch.view_as_real(result[0]), torch.view_as_real(result[1])
