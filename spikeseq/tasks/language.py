"""Language modelling on text files, by bytes or words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, DistributedSampler

from .chunks import Chunk, Chunks, Text
from .files import cache_folder, require
from .vocabulary import Bytes, Vocabulary, Words, read_vocabulary

SPLITS = ("train", "val", "test")
WIKITEXT = ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")
LAYOUT = "the three token files as released, directly in data_dir"
SOURCE = "https://huggingface.co/datasets/Salesforce/wikitext (parquet there; write its lines as text)"
Paths = str | Path | Sequence[str | Path]


class Language(LightningDataModule):
    """Texts as chunks of `batch_size` parallel streams, `length` tokens each, in order; see `Chunks`.

    Where the text lies, one of three: data_dir, a folder in the WikiText layout (by default in the platform's cache);
    `train`, `val` and `test`, a file or several each; `text`, a file or several, each cut by `shares` at the end of a
    line. level: "bytes" or "words" (`Bytes`, `Words`; `min_count` is `Words.of`'s). A file is one document, unless
    `separator` is given, a regular expression for the beginning of a document, such as "^ = [^=].*[^=] = $" for
    WikiText's articles. vocabulary: a file of an earlier run, instead of the words of this training text.

    Validation and test texts are read whole, in `eval_streams` streams: 1 scores every token with all of its document
    before it, more are for neurons of a fixed length, and then equal to `batch_size`.

    Raises FileNotFoundError for missing files, and ValueError for empty and undecodable ones, for unknown words, and
    for texts shorter than a batch.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        train: Paths | None = None,
        val: Paths | None = None,
        test: Paths | None = None,
        text: Paths | None = None,
        shares: tuple[float, float, float] = (0.9, 0.05, 0.05),
        level: str = "bytes",
        min_count: int = 1,
        vocabulary: str | Path | None = None,
        separator: str | None = None,
        length: int = 1024,
        batch_size: int = 16,
        eval_streams: int = 1,
    ) -> None:
        super().__init__()
        absent = (train is None) + (val is None) + (test is None)
        if absent in (1, 2) or (data_dir is not None) + (absent == 0) + (text is not None) > 1:
            raise ValueError(
                "Language: expected one of data_dir (WikiText layout), train with val and test, or text, got "
                f"data_dir={data_dir}, train={train}, val={val}, test={test}, text={text}"
            )
        if level not in ("bytes", "words"):
            raise ValueError(f"Language: expected level as one of bytes, words, got {level!r}")
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"Language: expected shares of train, val and test, above 0, with sum 1, got {shares}")
        if min(length, batch_size, min_count) < 1 or not 1 <= eval_streams <= batch_size:
            raise ValueError(
                "Language: expected length, batch_size and min_count of at least 1 and eval_streams in 1..batch_size, "
                f"got {length}, {batch_size}, {min_count} and {eval_streams}"
            )
        try:
            self.separator = None if separator is None else re.compile(separator.encode(), re.MULTILINE)
        except re.error as error:
            raise ValueError(f"Language: separator {separator!r} is no regular expression: {error}") from error
        self.data_dir = cache_folder("wikitext") if data_dir is None else Path(data_dir).expanduser()
        self.files = [_paths(name, paths) for name, paths in zip(SPLITS, (train, val, test), strict=True)]
        self.text = _paths("text", text)
        self.shares = shares
        self.level, self.min_count = level, min_count
        self.vocabulary_file = None if vocabulary is None else Path(vocabulary).expanduser()
        self.length, self.batch_size, self.eval_streams = length, batch_size, eval_streams
        self._texts: dict[str, Text] = {}
        self._vocabulary: Vocabulary | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        self.setup()
        assert self._vocabulary is not None
        return self._vocabulary

    def bytes_per_token(self, split: str) -> float:
        """Of the text of "train", "val" or "test", so that bits per token are bits per byte times this."""
        text = self.split(split)
        return text.bytes / len(text.tokens)

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (the vocabulary is always that of training)
        if self._texts:
            return
        raw = self._read()
        if self.vocabulary_file is not None:
            self._vocabulary = read_vocabulary(self.vocabulary_file)
        else:
            self._vocabulary = Bytes() if self.level == "bytes" else Words.of(raw["train"], self.min_count)
        self._texts = {name: self._encoded(files, self._vocabulary) for name, files in raw.items()}

    def split(self, name: str) -> Text:
        self.setup()
        return self._texts[name]

    def train_dataloader(self) -> DataLoader[Chunk]:
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        return _loader(Chunks(self.split("train"), self.batch_size, self.length, rank=rank, world=world))

    def val_dataloader(self) -> DataLoader[Chunk]:
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Chunk]:
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Chunk]:
        raise TypeError("predict: a text has no classes to predict; for text see `python -m spikeseq generate`")

    def _whole(self, name: str) -> DataLoader[Chunk]:
        length = self.batch_size * self.length // self.eval_streams
        return _loader(Chunks(self.split(name), self.eval_streams, length, whole=True))

    def _read(self) -> dict[str, list[tuple[str, bytes]]]:
        """(name, text) of every file of every split."""
        if self.text:
            parts: dict[str, list[tuple[str, bytes]]] = {name: [] for name in SPLITS}
            for path in self.text:
                text = _content("text", path)
                first, second = (_line_end(text, share) for share in (self.shares[0], 1 - self.shares[2]))
                for name, part in zip(SPLITS, (text[:first], text[first:second], text[second:]), strict=True):
                    if not part:
                        raise ValueError(f"{path}: expected enough lines for shares {self.shares}, got no {name} text")
                    parts[name].append((str(path), part))
            return parts
        files = self.files if any(self.files) else [[p] for p in require(self.data_dir, WIKITEXT, LAYOUT, SOURCE)]
        return {
            name: [(str(path), _content(name, path)) for path in paths]
            for name, paths in zip(SPLITS, files, strict=True)
        }

    def _encoded(self, files: list[tuple[str, bytes]], vocabulary: Vocabulary) -> Text:
        documents = [
            vocabulary.encode(document, f"{name}, document {number}")
            for name, text in files
            for number, document in enumerate(_documents(text, self.separator), start=1)
        ]
        size = sum(len(text) for _, text in files)
        return Text.of(documents, vocabulary.start, size)


def _paths(name: str, paths: Paths | None) -> list[Path]:
    if paths is None:
        return []
    found = [Path(path).expanduser() for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    if not found:
        raise ValueError(f"Language: expected at least one file for {name}, got none")
    return found


def _content(name: str, path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"missing: {path}, expected a text file ({name})")
    text = path.read_bytes()
    if not text:
        raise ValueError(f"{path}: expected text, got an empty file ({name})")
    return text


def _line_end(text: bytes, share: float) -> int:
    """Where the line ends in which `share` of the text is reached."""
    cut = round(share * len(text))
    return text.find(b"\n", cut) + 1 or cut


def _documents(text: bytes, separator: re.Pattern[bytes] | None) -> list[bytes]:
    cuts = [] if separator is None else [match.start() for match in separator.finditer(text)]
    bounds = sorted({0, *cuts, len(text)})
    return [text[first:last] for first, last in pairwise(bounds)]


def _loader(chunks: Chunks) -> DataLoader[Chunk]:
    # In order; as a DistributedSampler of one, since Lightning would put one of its own in the place of any other and
    # deal out the chunks of a stream to different processes. With a generator, since iterating must not draw from the
    # global random state, which dropout lives on.
    order = DistributedSampler(chunks, 1, 0, shuffle=False)
    return DataLoader(chunks, batch_size=None, sampler=order, generator=torch.Generator())
