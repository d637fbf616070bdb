"""Folding of whole models for inference: the norms at both ends go into the encoder and the head."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from .backbone import Backbone
from .encoder import Encoder
from .norm import Affine


def fold_backbone(model: Any) -> Any:
    """A copy of the model with its backbone folded and the first norm merged into the encoder."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    folded.backbone = model.backbone.fold()
    first = folded.backbone.blocks()[0]
    merges = isinstance(folded.encoder, Encoder) and first.placement == "pre" and not first.skips_norm
    if merges and isinstance(first.norm, Affine):
        _scale_output(folded.encoder, first.norm)
        first.norm = nn.Identity()
    return folded


def _scale_output(encoder: Encoder, norm: Affine) -> None:
    """Make `encoder` give `norm(encoder(x))`."""
    with torch.no_grad():
        if isinstance(encoder, nn.Embedding):
            encoder.weight.copy_(norm(encoder.weight))
        else:
            encoder.weight.mul_(norm.scale[:, None])
            encoder.bias.copy_(norm(encoder.bias))


def fold_last_norm(backbone: Backbone, head: nn.Linear) -> None:
    """Make `head(y)` give `head(norm(y))` for the last norm of the backbone, and take that norm out."""
    last = backbone.blocks()[-1]
    owner, name = (last, "norm") if last.placement == "post" else (backbone, "final_norm")
    norm = getattr(owner, name)
    if isinstance(norm, Affine):
        with torch.no_grad():
            head.bias.add_(head.weight @ norm.shift)
            head.weight.mul_(norm.scale)
        setattr(owner, name, nn.Identity())
