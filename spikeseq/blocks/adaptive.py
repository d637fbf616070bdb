"""The way in for large vocabularies: rare tokens have narrow embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .encoder import check_tokens

NARROWING = 4.0  # each band of rarer tokens has a quarter of the width of the band before


class AdaptiveEncoder(nn.Module):
    """Tokens: x integer [...] with values 0..vocabulary-1 -> [..., width].

    Band i holds tokens cutoffs[i-1]..cutoffs[i]-1 with an embedding of width / 4^i and a Linear to `width`, so frequent
    tokens must come first. The counterpart of torch's AdaptiveLogSoftmaxWithLoss, with its cutoffs and `div_value`.
    Errors as in `TokenEncoder`. Source: Baevski and Auli, arXiv 1809.10853.
    """

    def __init__(self, vocabulary: int, width: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.width = width
        self.bounds = (0, *cutoffs, vocabulary)
        widths = [int(width // NARROWING**band) for band in range(len(cutoffs) + 1)]
        sizes = [last - first for first, last in pairwise(self.bounds)]
        self.bands = nn.ModuleList(
            nn.Sequential(nn.Embedding(size, narrow), nn.Linear(narrow, width, bias=False))
            for size, narrow in zip(sizes, widths, strict=True)
        )

    def check(self, x: Tensor, *axes: str) -> None:
        """`axes` names the expected axes, such as "batch", "time"."""
        check_tokens(x, self.vocabulary, *axes)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten().long()
        y = next(self.parameters()).new_zeros(len(flat), self.width)
        for (first, last), band in zip(pairwise(self.bounds), self.bands, strict=True):
            where = ((flat >= first) & (flat < last)).nonzero().squeeze(1)
            y = y.index_copy(0, where, band(flat[where] - first).to(y.dtype))
        return y.view(*x.shape, self.width)
