"""What a token is: a byte or a word; and how a vocabulary is kept in a file."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNKNOWN, END_OF_LINE = "<unk>", "<eos>"


class Bytes:
    """A token is a byte, 0..255; 256 is the mark that begins a document."""

    start = 256
    size = 257

    def encode(self, text: bytes, source: str = "text") -> NDArray[np.int32]:  # noqa: ARG002 (as Words.encode)
        return np.frombuffer(text, np.uint8).astype(np.int32)

    def decode(self, tokens: Iterable[int]) -> bytes:
        return bytes(token for token in tokens if token != self.start)

    def as_json(self) -> str:
        return json.dumps({"level": "bytes"})


class Words:
    """A token is a word between blanks, and `<eos>` ends a line; the last token is the mark that begins a document.

    words: by falling frequency, as bands of an adaptive softmax want them. A word that is not among them becomes
    `<unk>` where that is one, and is a ValueError elsewhere.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.start = len(self.words)
        self.size = len(self.words) + 1
        self._number = {word: token for token, word in enumerate(self.words)}
        if len(self._number) != len(self.words):
            raise ValueError("Words: expected each word once")

    @classmethod
    def of(cls, texts: Iterable[tuple[str, bytes]], min_count: int = 1) -> Words:
        """The words of the texts, each with its name for errors; those seen less than `min_count` times are `<unk>`."""
        counts: Counter[str] = Counter()
        for source, text in texts:
            for words in _lines(text, source):
                counts.update(words)
        rare = [word for word, count in counts.items() if count < min_count and word not in (UNKNOWN, END_OF_LINE)]
        if min_count > 1:
            counts[UNKNOWN] += sum(counts.pop(word) for word in rare)
        return cls([word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))])

    def encode(self, text: bytes, source: str = "text") -> NDArray[np.int32]:
        """The tokens of UTF-8 `text`; `source` names it in errors."""
        unknown = self._number.get(UNKNOWN)
        tokens = array("i")
        for line, words in enumerate(_lines(text, source), start=1):
            for word in words:
                token = self._number.get(word, unknown)
                if token is None:
                    raise ValueError(
                        f"{source}, line {line}: {word!r} is not in the vocabulary of {len(self.words)} words, which "
                        f"has no {UNKNOWN} (min_count=2 makes one of the words that training text has only once)"
                    )
                tokens.append(token)
        return np.frombuffer(tokens, np.int32)

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Words with blanks between, lines as they were."""
        words = (self.words[token] for token in tokens if token != self.start)
        return "".join("\n" if word == END_OF_LINE else f"{word} " for word in words).encode()

    def as_json(self) -> str:
        return json.dumps({"level": "words", "words": self.words}, ensure_ascii=False, indent=0)


Vocabulary = Bytes | Words


def digest(vocabulary: Vocabulary) -> str:
    """What tells vocabularies apart, in 64 letters."""
    return hashlib.sha256(vocabulary.as_json().encode()).hexdigest()


def read_vocabulary(path: Path) -> Vocabulary:
    """What `as_json` gave, from a file. ValueError that names the file for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content == {"level": "bytes"}:
            return Bytes()
        if content["level"] == "words" and all(isinstance(word, str) for word in content["words"]):
            return Words(content["words"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a vocabulary as spikeseq writes it, got {error}") from error
    raise ValueError(f'{path}: expected a vocabulary, {{"level": "bytes"}} or "words" with a list, got another level')


def _lines(text: bytes, source: str) -> Iterator[list[str]]:
    """The words of each line, with its end. A last line that no line feed ends has no `<eos>`."""
    lines = text.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            words = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise ValueError(f"{source}, line {number}: expected UTF-8 text, got {error}") from error
        if number < len(lines):
            words.append(END_OF_LINE)
        yield words
