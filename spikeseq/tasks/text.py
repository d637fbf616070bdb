"""Text of the Long Range Arena: is a film review good or bad, byte by byte."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .digits import stratified
from .files import Arrays, cache_folder, kept
from .memory import MemoryData, Splits, TokenSequences, packed

CLASSES = ("neg", "pos")
RATINGS = {"neg": range(1, 5), "pos": range(7, 11)}
LAYOUT = "train/pos, train/neg, test/pos and test/neg, each with files <id>_<rating>.txt, ids from 0 without a gap"
SOURCE = "https://ai.stanford.edu/~amaas/data/sentiment/ (aclImdb_v1.tar.gz, unpacked)"
PRINTABLE = range(0x20, 0x7F)


class Text(MemoryData[TokenSequences]):
    """IMDB reviews as bytes: x [batch, longest of the batch] (0 is padding), lengths [batch], y [batch], 1 for good.

    data_dir: the folder aclImdb. Bytes become tokens by `byte_tokens`; reviews are cut after `longest` of them. The
    published setting selects on the test split; here `validation`, a share of the training reviews (the same ones for
    every `seed`, both classes alike), is held out for that. Tokens are kept in the cache folder. `seed` orders the
    training batches.

    Raises FileNotFoundError for missing folders, and ValueError, naming folder or file, for what is half there.

    Source: Maas et al., "Learning word vectors for sentiment analysis" (2011); arXiv 2011.04006.
    """

    classes = len(CLASSES)

    def __init__(
        self,
        data_dir: str | Path | None = None,
        longest: int = 4096,
        vocabulary: int = 135,
        validation: float = 0.1,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        if longest < 1 or not 0 < validation < 1:
            raise ValueError(f"Text: expected longest >= 1 and 0 < validation < 1, got {longest} and {validation}")
        self.data_dir = cache_folder("aclImdb") if data_dir is None else Path(data_dir).expanduser()
        self.longest, self.vocabulary, self.validation = longest, vocabulary, validation

    def read(self) -> Splits[TokenSequences]:
        table = byte_tokens(self.vocabulary)
        rest, test = (read_reviews(self.data_dir / split, table, self.longest) for split in ("train", "test"))
        if len(rest) != len(test):
            raise ValueError(
                f"{self.data_dir}: expected as many reviews in train as in test, got {len(rest)} and {len(test)}: "
                f"is the copy whole?"
            )
        train, val = stratified(rest.labels, (1 - self.validation, self.validation), seed=0)
        return Splits(rest.subset(train), rest.subset(val), test)


def byte_tokens(vocabulary: int) -> NDArray[np.uint8]:
    """The token of each of the 256 bytes, in 1..vocabulary-1; 0 is left for padding.

    Each printable ASCII byte has its own token, 1..95; the other 161 share the rest in order, evenly. 135 and 100 are
    the published sizes (there: the characters that occur often enough in the training text, and two marks).
    """
    if not 97 <= vocabulary <= 256:
        raise ValueError(f"vocabulary: expected 97..256 (padding, printable ASCII, others), got {vocabulary}")
    table = np.empty(256, np.uint8)
    table[PRINTABLE] = np.arange(1, len(PRINTABLE) + 1)
    others = np.setdiff1d(np.arange(256), PRINTABLE)
    room = vocabulary - 1 - len(PRINTABLE)
    table[others] = 1 + len(PRINTABLE) + np.arange(len(others)) * room // len(others)
    return table


def read_reviews(folder: Path, table: NDArray[np.uint8], longest: int) -> TokenSequences:
    """The reviews of `folder`/neg (label 0) and `folder`/pos (1), in the order of their ids."""
    files = [_reviews(folder / name, RATINGS[name]) for name in CLASSES]
    if len(files[0]) != len(files[1]):
        raise ValueError(
            f"{folder}: expected as many reviews in neg as in pos, got {len(files[0])} and {len(files[1])}: "
            "is the copy whole?"
        )
    paths = [path for part in files for path in part]
    marks = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    name = hashlib.sha256(repr((marks, table.tolist(), longest)).encode()).hexdigest()[:32]

    def make() -> Arrays:
        reviews = packed(
            (_tokens(path, table, longest) for path in paths), torch.arange(2).repeat_interleave(len(files[0]))
        )
        return {key: getattr(reviews, key).numpy() for key in ("tokens", "offsets", "labels")}

    file = kept(cache_folder("text") / f"{name}.npz", make)
    tokens, offsets, labels = (torch.from_numpy(file[key]) for key in ("tokens", "offsets", "labels"))
    return TokenSequences(tokens, offsets, labels)


def _reviews(folder: Path, ratings: range) -> list[Path]:
    """The files of one folder in the order of their ids, checked by their names."""
    if not folder.is_dir():
        raise FileNotFoundError(f"missing: {folder}\nlayout: {LAYOUT}\nsource: {SOURCE}")
    found: dict[int, Path] = {}
    for path in folder.glob("*.txt"):
        number, _, rating = path.stem.partition("_")
        if not number.isdecimal() or not rating.isdecimal() or int(rating) not in ratings:
            raise ValueError(
                f"{path}: expected a name <id>_<rating>.txt with a rating in {ratings.start}..{ratings.stop - 1}"
            )
        found[int(number)] = path
    gap = next((i for i in range(len(found)) if i not in found), None)
    if gap is not None or not found:
        raise ValueError(
            f"{folder}: expected reviews with ids 0..{max(found, default=0)}, found none with id {gap or 0}: "
            "is the copy whole?"
        )
    return [found[i] for i in range(len(found))]


def _tokens(path: Path, table: NDArray[np.uint8], longest: int) -> Tensor:
    raw = np.frombuffer(path.read_bytes()[:longest], np.uint8)
    if not len(raw):
        raise ValueError(f"{path}: expected a review, got an empty file")
    return torch.from_numpy(table[raw])
