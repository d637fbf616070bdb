"""Long texts as parallel streams, read chunk by chunk, so that a model's state can be carried from each to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ..blocks.token_model import IGNORED


class Chunk(NamedTuple):
    """x, y: int64 [batch, time], y is the token after x or -100; starts: bool [batch, time], or None for no start."""

    x: Tensor
    y: Tensor
    starts: Tensor | None


@dataclass(frozen=True)
class Text:
    """Documents, one after another. tokens: int32 [n]; begins: bool [n], True at each document's first token; start:
    the mark that a model sees before that token; bytes: what the text takes in its file."""

    tokens: Tensor
    begins: Tensor
    start: int
    bytes: int

    @classmethod
    def of(cls, documents: Sequence[NDArray[np.int32]], start: int, size: int) -> Text:
        begins = torch.zeros(sum(map(len, documents)), dtype=torch.bool)
        begins[np.cumsum([0, *map(len, documents[:-1])])] = True
        return cls(torch.from_numpy(np.concatenate(documents)), begins, start, size)


class Chunks(Dataset[Chunk]):
    """`text` cut into `rows` streams of equal length, read side by side, `length` tokens at a time.

    Token t is predicted from those before it in its document and the start mark, so every token is predicted once,
    and no document sees another: `starts` marks their beginnings. The last, incomplete column of chunks is dropped, or
    with `whole` filled up with targets -100. With several processes, `rank` of `world` reads its share of world * rows
    streams.
    """

    def __init__(self, text: Text, rows: int, length: int, whole: bool = False, rank: int = 0, world: int = 1) -> None:
        streams = rows * world
        if rows < 1 or length < 1 or len(text.tokens) < (1 if whole else streams * length):
            raise ValueError(
                f"expected rows and length of at least 1 and a text of at least rows * length = {streams} * {length} "
                f"tokens, got {len(text.tokens)} tokens"
            )
        columns = -(-len(text.tokens) // streams) if whole else len(text.tokens) // streams
        self.count = -(-columns // length) if whole else columns // length
        self.length = length
        self._text, self._columns = text, columns
        self._first = torch.arange(rank * rows, (rank + 1) * rows) * columns

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, chunk: int) -> Chunk:
        if not 0 <= chunk < self.count:
            raise IndexError(f"expected a chunk in 0..{self.count - 1}, got {chunk}")
        text, column = self._text, chunk * self.length + torch.arange(self.length)
        index = self._first[:, None] + column
        inside = (column < self._columns) & (index < len(text.tokens))
        index = torch.where(inside, index, 0)
        starts = text.begins[index]
        x = torch.where(starts, text.start, text.tokens[index - 1]).long()
        y = torch.where(inside, text.tokens[index], IGNORED).long()
        starts &= inside
        if chunk == 0:
            starts[:, 0] = False  # the state is fresh there anyway
        return Chunk(x, y, starts if starts.any() else None)
