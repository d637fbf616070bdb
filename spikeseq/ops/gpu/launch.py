"""What the kernels' functions share: how a kernel is started, room for checkpoints and sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..native.buffers import plain

WARP = 32  # channels, one a thread
OPTIONS = {"num_warps": 1, "enable_fp_fusion": False}  # the compiler fuses no product with a sum


@dataclass(frozen=True)
class Form:
    """How a recurrence's kernels cut their work.

    More rows at once hide more of the memory's latency and take more registers (and Triton longer to compile). A thread
    has one channel. Warps of one program wait for each other before each tile (`in_step`), so that they ask for
    neighbouring memory: on an H200 128 channels and 4 warps were faster than 32 by 1 to 8 % with 64 and 256 rows of 256
    channels, LIF and PRF; their values were not held to the reference there, so one warp it is. Rows that take the
    place of used ones one by one were slower than a tile at a time (1.59 copies for 1.31, LIF forward).
    """

    tile: int = 16  # steps between two checkpoints, and rows at once in the backward pass
    rows: int = 16  # rows at once in the forward pass, a multiple of `tile`
    forward: int = 32  # channels a program
    backward: int = 32
    before: int = 0  # steps ahead of a tile whose starts its word tells too

    def kept(self, x: Tensor) -> int:
        """States kept for the backward pass, as in rows.py."""
        return x.shape[1] // self.tile + x.shape[1] % self.tile


LIF = Form(tile=32, rows=64)
PRF = Form(tile=32, rows=64)
PRF_MORE = Form(rows=32)  # with a reset, starts or complex values, which take registers too
VARYING = Form(rows=32)
GATED = Form(rows=32)
MAX_LAGS = 8  # of a gate that the kernel makes itself
CONVOLVED = Form(rows=32, before=MAX_LAGS)
STEPS, BLOCK = 32, 64  # a patch


def run(kernel: Any, x: Tensor, block: int, /, **arguments: Any) -> None:
    """Start a kernel over `x` [batch, time, width], `block` channels of one row of the batch a program."""
    grid = (x.shape[0] * -(-x.shape[2] // block),)
    with torch.cuda.device_of(x):
        kernel[grid](
            time=x.shape[1], width=x.shape[2], BLOCK=block, **arguments, **OPTIONS | {"num_warps": block // WARP}
        )


def chunks_of(steps: int) -> int:
    return -(-steps // STEPS)


def run_patches(kernel: Any, x: Tensor, batch: int, steps: int, /, **arguments: Any) -> None:
    """Start a kernel that works on patches of STEPS steps and BLOCK channels."""
    width = x.shape[-1]
    grid = (batch * chunks_of(steps) * -(-width // BLOCK),)
    with torch.cuda.device_of(x):
        kernel[grid](width=width, STEPS=STEPS, BLOCK=BLOCK, num_warps=8, enable_fp_fusion=False, **arguments)


def checkpoints_for(x: Tensor, form: Form, planes: int = 1) -> Tensor:
    return x.new_empty(x.shape[0], form.kept(x), planes, x.shape[2], dtype=torch.float32)


def rows_for(x: Tensor, *planes: int) -> Tensor:
    """Room for a parameter's gradient, one row for each sequence: summed in double, in one order."""
    return torch.empty(x.shape[0], *planes, x.shape[2], dtype=torch.float64, device=x.device)


def heard(grad: Tensor | None, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The gradient of an output shaped like `x`, as the kernels read it; zeros where none came."""
    return torch.zeros_like(x, dtype=dtype) if grad is None else plain(grad)


def pairs(z: Tensor | None) -> Tensor | None:
    """A complex64 tensor as the kernels read it, one 64-bit integer a number; anything else as it is."""
    return z.view(torch.int64) if z is not None and z.is_complex() else z
