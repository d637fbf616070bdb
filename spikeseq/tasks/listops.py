"""Long ListOps: nested lists of digits under MIN, MAX, MED and SM, read as tokens; the value is the class."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from .files import Arrays, cache_folder, kept, require
from .listops_trees import LONGEST, SHORTEST, TOKENS, draw
from .memory import MemoryData, Splits, TokenSequences, packed

NUMBER = {name: token for token, name in enumerate(TOKENS)}
FILES = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
LAYOUT = "the three TSV files as released, with the header `Source<TAB>Target`"
SOURCE = "https://github.com/google-research/long-range-arena (lra_release.gz, folder listops-1000)"


def evaluate(source: str) -> int:
    """The value 0..9 of a ListOps expression such as "[MAX 2 9 [MIN 4 7 ] 0 ]"; parentheses are ignored.

    MED is the median rounded down, SM the sum modulo 10. Raises ValueError for what is no expression.
    """
    stack: list[tuple[str, list[int]]] = []
    result: int | None = None
    for place, word in enumerate(w for w in source.split() if w not in ("(", ")")):
        if result is not None:
            raise ValueError(f"ListOps: expected the end after the last ], got {word!r} as token {place}")
        if word not in NUMBER or word == TOKENS[0]:
            raise ValueError(f"ListOps: expected one of {' '.join(TOKENS[1:])}, got {word!r} as token {place}")
        if word.startswith("["):
            stack.append((word, []))
            continue
        if word == "]":
            if not stack or not stack[-1][1]:
                raise ValueError(f"ListOps: expected an operator with arguments before the ] at token {place}")
            operator, arguments = stack.pop()
            value = _apply(operator, arguments)
        else:
            value = int(word)
        if stack:
            stack[-1][1].append(value)
        else:
            result = value
    if result is None:
        raise ValueError(f"ListOps: expected a whole expression, got {len(stack)} unclosed operators")
    return result


def _apply(operator: str, arguments: list[int]) -> int:
    if operator == "[MIN":
        return min(arguments)
    if operator == "[MAX":
        return max(arguments)
    if operator == "[SM":
        return sum(arguments) % 10
    ordered, half = sorted(arguments), len(arguments) // 2
    return ordered[half] if len(arguments) % 2 else (ordered[half - 1] + ordered[half]) // 2


class ListOps(MemoryData[TokenSequences]):
    """Expressions as tokens x [batch, longest of the batch] (0 is padding), lengths [batch], values y [batch] in 0..9.

    Without data_dir: our own expressions by the published rules (`listops_trees`), `train` + `validation` + `test` of
    them drawn from `data_seed`, kept in the platform's cache folder. With data_dir: the released TSV files. Lengths
    (tokens without parentheses) lie strictly between `shortest` and `longest`. `seed` orders the training batches.

    Raises FileNotFoundError that lists missing files, and ValueError for files that are not what they should be.
    """

    classes = 10
    vocabulary = len(TOKENS)

    def __init__(
        self,
        data_dir: str | Path | None = None,
        train: int = 96_000,
        validation: int = 2_000,
        test: int = 2_000,
        shortest: int = SHORTEST,
        longest: int = LONGEST,
        data_seed: int = 0,
        batch_size: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.data_dir = None if data_dir is None else Path(data_dir).expanduser()
        self.sizes = (train, validation, test)
        self.shortest, self.longest, self.data_seed = shortest, longest, data_seed

    def read(self) -> Splits[TokenSequences]:
        if self.data_dir is not None:
            return Splits(*(read_tsv(path) for path in require(self.data_dir, FILES, LAYOUT, SOURCE)))
        train, validation, _ = self.sizes
        if min(self.sizes) < 1:
            raise ValueError(f"ListOps: expected at least one item a split, got {self.sizes}")
        items = drawn(sum(self.sizes), self.data_seed, self.shortest, self.longest)
        return Splits(
            items.part(0, train), items.part(train, train + validation), items.part(train + validation, len(items))
        )


def drawn(count: int, seed: int, shortest: int, longest: int) -> TokenSequences:
    """`draw`, kept as uint8 in a file of the cache folder: made once (about a minute a 100,000), then read."""

    def make() -> Arrays:
        return dict(zip(("tokens", "offsets", "values"), draw(count, seed, shortest, longest), strict=True))

    file = kept(cache_folder("listops") / f"{count}-{seed}-{shortest}-{longest}.npz", make)
    return TokenSequences(
        torch.from_numpy(file["tokens"]), torch.from_numpy(file["offsets"]), torch.from_numpy(file["values"]).long()
    )


def read_tsv(path: Path) -> TokenSequences:
    """A released file: `Source<TAB>Target` with binary parentheses, which are left out."""
    rows: list[list[int]] = []
    labels: list[int] = []
    with path.open(newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if next(reader, None) != ["Source", "Target"]:
            raise ValueError(f"{path}: expected the header Source<TAB>Target in line 1")
        for line, row in enumerate(reader, start=2):
            if len(row) != 2 or row[1] not in tuple("0123456789"):
                raise ValueError(f"{path}, line {line}: expected an expression, a tab and a value 0..9, got {row[1:]}")
            words = [word for word in row[0].split() if word not in ("(", ")")]
            unknown = next((word for word in words if word not in NUMBER), None)
            if unknown is not None or not words:
                raise ValueError(f"{path}, line {line}: expected ListOps tokens, got {unknown!r}")
            rows.append([NUMBER[word] for word in words])
            labels.append(int(row[1]))
    if not rows:
        raise ValueError(f"{path}: expected at least one expression, got none")
    return packed((torch.tensor(row, dtype=torch.uint8) for row in rows), torch.tensor(labels))
