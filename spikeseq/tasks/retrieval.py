"""Retrieval of the Long Range Arena: does one of two papers cite the other, byte by byte."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .files import cache_folder, require
from .memory import MemoryData, Splits, TokenSequences, packed
from .text import byte_tokens

FILES = ("new_aan_pairs.train.tsv", "new_aan_pairs.eval.tsv", "new_aan_pairs.test.tsv")
LAYOUT = "three TSV files without header or quoting: label, id1, id2, text1, text2"
SOURCE = "https://github.com/google-research/long-range-arena (lra_release.gz, folder tsv_data)"
LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}


class Retrieval(MemoryData[TokenSequences]):
    """Pairs of papers (ACL Anthology Network) as bytes: x [batch, 2, longest of the batch] (0 is padding), lengths
    [batch, 2], y [batch], 1 for related ones. For `spikeseq.blocks.PairClassifier`.

    data_dir: the folder with the three files. Bytes become tokens by `text.byte_tokens`; documents are cut after
    `longest` of them. `seed` orders the training batches.

    Raises FileNotFoundError that lists missing files, and ValueError, naming file and line, for broken ones.

    Source: Radev et al., "The ACL anthology network corpus" (2013); arXiv 2011.04006.
    """

    classes = 2

    def __init__(
        self,
        data_dir: str | Path | None = None,
        longest: int = 4000,
        vocabulary: int = 100,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if longest < 1:
            raise ValueError(f"Retrieval: expected longest >= 1, got {longest}")
        self.data_dir = cache_folder("aan") if data_dir is None else Path(data_dir).expanduser()
        self.longest, self.vocabulary = longest, vocabulary

    def read(self) -> Splits[TokenSequences]:
        table = byte_tokens(self.vocabulary)
        paths = require(self.data_dir, FILES, LAYOUT, SOURCE)
        return Splits(*(read_pairs(path, table, self.longest) for path in paths))


def read_pairs(path: Path, table: NDArray[np.uint8], longest: int) -> TokenSequences:
    """One file. A half-copied file ends in the middle of a line, which is an error."""
    documents: list[Tensor] = []
    labels: list[int] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            fields = line.rstrip(b"\r\n").split(b"\t")
            whole = line.endswith(b"\n")
            if len(fields) != 5 or not whole:
                raise ValueError(
                    f"{path}, line {number}: expected label, id1, id2, text1, text2 and a line end, got {len(fields)} "
                    f"fields{'' if whole else ' and no line end: is the copy whole?'}"
                )
            if fields[0] not in LABELS:
                raise ValueError(f"{path}, line {number}: expected the label 0 or 1, got {fields[0][:20]!r}")
            if not fields[3] or not fields[4]:
                raise ValueError(f"{path}, line {number}: expected two texts, got an empty one")
            labels.append(LABELS[fields[0]])
            documents += (torch.from_numpy(table[np.frombuffer(text[:longest], np.uint8)]) for text in fields[3:])
    if not labels:
        raise ValueError(f"{path}: expected at least one pair, got none")
    return packed(documents, torch.tensor(labels), together=2)
