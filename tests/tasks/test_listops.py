"""ListOps: labels by an independent evaluator, the published rules, files and errors."""

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.tasks.listops import FILES, ListOps, evaluate, read_tsv
from spikeseq.tasks.listops_trees import TOKENS, draw

OPERATORS = {
    "[MIN": min, "[MAX": max, "[MED": lambda a: int(statistics.median(a)), "[SM": lambda a: sum(a) % 10,
}  # fmt: skip


def value(words: list[str]) -> int:
    """An evaluator of its own: rewrites the innermost list until one digit is left."""
    words = list(words)
    while len(words) > 1:
        end = words.index("]")
        begin = max(i for i in range(end) if words[i].startswith("["))
        words[begin : end + 1] = [str(OPERATORS[words[begin]]([int(w) for w in words[begin + 1 : end]]))]
    return int(words[0])


def depth(words: list[str]) -> int:
    deepest = here = 1
    for word in words:
        here += word.startswith("[") - (word == "]")
        deepest = max(deepest, here)
    return deepest


@pytest.fixture(scope="module")
def expressions() -> tuple[list[list[str]], np.ndarray]:
    tokens, offsets, values = draw(300, seed=3)
    return [[TOKENS[t] for t in tokens[a:b]] for a, b in zip(offsets, offsets[1:], strict=False)], values


def test_every_label_is_right(expressions) -> None:
    rows, values = expressions
    assert [value(words) for words in rows] == values.tolist()
    assert [evaluate(" ".join(words)) for words in rows[:50]] == values[:50].tolist()


def test_the_published_rules(expressions) -> None:
    rows, values = expressions
    assert all(500 < len(words) < 2000 for words in rows)
    assert all(depth(words) <= 10 for words in rows)
    assert len({tuple(words) for words in rows}) == len(rows)
    words = [w for row in rows for w in row]
    digits, operators = [w for w in words if w.isdigit()], [w for w in words if w.startswith("[")]
    for names, found in ((tuple("0123456789"), digits), (tuple(OPERATORS), operators)):
        shares = np.array([found.count(name) for name in names]) / len(found)
        assert np.abs(shares - 1 / len(names)).max() < 0.02
    counts = [row.count("]") for row in rows]
    assert counts == [sum(w.startswith("[") for w in row) for row in rows]
    assert len(set(values.tolist())) == 10


def test_the_same_seed_gives_the_same() -> None:
    first, again, other = draw(5, 1), draw(5, 1), draw(5, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0][:500], other[0][:500])


@given(st.integers(0, 40), st.integers(10, 60))
def test_short_ones(shortest: int, more: int) -> None:
    tokens, offsets, values = draw(3, 0, shortest, shortest + more)
    assert all(shortest < n < shortest + more for n in np.diff(offsets))
    rows = [[TOKENS[t] for t in tokens[a:b]] for a, b in zip(offsets, offsets[1:], strict=False)]
    assert [value(words) for words in rows] == values.tolist()


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("( ( ( ( [MED 2 ) 5 ) 8 ) ] )", 5),
        ("[MED 1 2 ]", 1),
        ("[SM 9 9 ]", 8),
        ("7", 7),
    ],
)
def test_evaluate(source: str, wanted: int) -> None:
    assert evaluate(source) == wanted


@pytest.mark.parametrize("source", ["", "[MAX 2", "[MAX ]", "1 ]", "[AVG 1 2 ]", "1 2", "[MAX 1 ] 2", "<pad>", "12"])
def test_no_expression(source: str) -> None:
    with pytest.raises(ValueError, match="ListOps: expected"):
        evaluate(source)


def test_batches_are_padded_to_their_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = ListOps(train=20, validation=4, test=4, shortest=5, longest=40, batch_size=4)
    data.setup()
    x, lengths, y = next(iter(data.train_dataloader()))
    assert x.dtype == torch.int64
    assert x.shape == (4, int(lengths.max()))
    for row, length, label in zip(x, lengths, y, strict=True):
        assert bool((row[:length] > 0).all())
        assert bool((row[length:] == 0).all())
        assert value([TOKENS[t] for t in row[:length]]) == label
    splits = data.splits
    assert splits is not None
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [20, 4, 4]
    (cached,) = (tmp_path / "spikeseq" / "listops").iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    with pytest.raises(ValueError, match="broken file"):
        ListOps(train=20, validation=4, test=4, shortest=5, longest=40).read()


def test_released_files(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_text("Source\tTarget\n( ( ( [MAX 2 ) 9 ) ] )\t9\n( ( [SM 7 ) ] )\t7\n")
    data = ListOps(tmp_path, batch_size=2)
    data.setup()
    x, lengths, y = next(iter(data.test_dataloader()))
    assert x.tolist() == [[12, 3, 10, 15], [14, 8, 15, 0]]
    assert lengths.tolist() == [4, 3]
    assert y.tolist() == [9, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "header"), ("a\tb\n", "header"), ("Source\tTarget\n", "at least one"),
        ("Source\tTarget\n( [MAX 2 ) ]\t10\n", "line 2.*0..9"), ("Source\tTarget\n( [MAX 2 ) ]\n", "line 2"),
        ("Source\tTarget\n[AVG 2 ]\t1\n", r"line 2.*\[AVG"), ("Source\tTarget\n\t1\n", "line 2"),
    ],
)  # fmt: skip
def test_broken_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "basic_train.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_tsv(path)


def test_missing_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)basic_train\.tsv.*Source<TAB>Target.*source: https"):
        ListOps(tmp_path).setup()


def test_a_range_that_holds_too_few() -> None:
    """No expression has 2 or 3 tokens; only ten have 1."""
    with pytest.raises(ValueError, match="0 found: expected a range that holds 3"):
        draw(3, 0, 1, 4)


@pytest.mark.parametrize("bad", [(0, 0, 500, 2000), (5, 0, -1, 10), (5, 0, 10, 11)])
def test_impossible_requests(bad: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="ListOps: expected"):
        draw(*bad)
