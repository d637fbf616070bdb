"""Normalisation over [batch, time, width] that ignores padding and can stream."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from .padding import Padding, as_padding

NORMS = ("batch", "layer", "none")


class MaskedBatchNorm(nn.BatchNorm1d):
    """`y = (x - mean) / sqrt(var + eps) * weight + bias` per channel, statistics over (batch, time).

    With `lengths` only valid steps count and, in training mode, padded outputs are zeros; without them this is
    `nn.BatchNorm1d` on [batch * time, width]. In eval mode the running statistics make it a fixed affine map, which
    `step` streams. x: [batch, time, width]. State dict as in `nn.BatchNorm1d`.

    Where training runs in several processes (DDP), the statistics are those of all their steps together, so that n
    processes with a batch of b train as one with a batch of n * b. torch's SyncBatchNorm knows no padding and no CPU.
    """

    def forward(self, input: Tensor, lengths: Tensor | Padding | None = None) -> Tensor:
        flat = input.flatten(0, 1)
        padding = as_padding(lengths, input.shape[0], input.shape[1])
        if padding is None or not self.training:
            return self._normalise(flat).view_as(input)
        valid = self._normalise(flat.index_select(0, padding.valid))
        return valid.new_zeros(flat.shape).index_copy(0, padding.valid, valid).view_as(input)

    def _normalise(self, flat: Tensor) -> Tensor:
        """[n, width]"""
        if self.training and distributed.is_available() and distributed.is_initialized():
            return self._across_processes(flat)
        return super().forward(flat)

    def _across_processes(self, flat: Tensor) -> Tensor:
        from torch.distributed.nn.functional import all_reduce  # has a gradient, unlike torch.distributed's

        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        wide = flat.to(torch.promote_types(flat.dtype, torch.float32))
        count = all_reduce(wide.new_tensor(len(wide)))
        mean = all_reduce(wide.sum(0)) / count
        centred = wide - mean
        var = all_reduce(centred.square().sum(0)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((var * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        return torch.addcmul(self.bias, centred * torch.rsqrt(var + self.eps), self.weight).to(flat.dtype)

    def step(self, x_t: Tensor) -> Tensor:
        """One step [batch, width] by running statistics; raises RuntimeError in training mode."""
        if self.training:
            raise RuntimeError(
                "MaskedBatchNorm.step: expected eval mode, got training mode; batch statistics need the whole "
                "sequence, so call model.eval() before streaming (or use norm='layer')"
            )
        return super().forward(x_t)

    def affine_map(self) -> Affine:
        """The fixed map this norm is in eval mode: `weight / sqrt(var + eps)` and `bias - mean * scale`."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return Affine(scale.detach(), (self.bias - self.running_mean * scale).detach())


class Affine(nn.Module):
    """`y = x * scale + shift` per channel: what is left of a batch norm after folding. scale, shift: [width]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)


Norm = MaskedBatchNorm | nn.LayerNorm | nn.Identity | Affine


def make_norm(kind: str, width: int) -> Norm:
    """The norm called `kind`: "batch", "layer" or "none"."""
    if kind == "batch":
        return MaskedBatchNorm(width)
    if kind == "layer":
        return nn.LayerNorm(width)
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"norm: expected one of {', '.join(NORMS)}, got {kind!r}")


def normalise(norm: Norm, x: Tensor, padding: Padding | None) -> Tensor:
    """A whole sequence [batch, time, width]; padding matters only to batch statistics."""
    return norm(x, padding) if isinstance(norm, MaskedBatchNorm) else norm(x)


def normalise_step(norm: Norm, x_t: Tensor) -> Tensor:
    """One step [batch, width]."""
    return norm.step(x_t) if isinstance(norm, MaskedBatchNorm) else norm(x_t)


def fold_norm(norm: Norm) -> Norm:
    """A batch norm as the affine map it is in eval mode; the others unchanged (a layer norm depends on its input)."""
    return norm.affine_map() if isinstance(norm, MaskedBatchNorm) else norm
