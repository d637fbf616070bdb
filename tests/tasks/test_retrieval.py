"""Retrieval from tiny TSV files: two documents an item, no quoting or header; errors name file and line."""

from pathlib import Path

import pytest

from spikeseq.blocks import PairClassifier
from spikeseq.tasks.retrieval import FILES, Retrieval
from spikeseq.tasks.text import byte_tokens

ROWS = [
    b"1.0\tP1\tP2\tfirst \"paper\t'second' paper, longer\n",
    b"0.0\tP3\tP4\tabcdefgh\tij\n",
    b"0\tP5\tP6\tk\tl\n",
    b"1\tP7\tP8\tmn\topq\n",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_bytes(b"".join(ROWS))
    return tmp_path


def test_two_documents_an_item(folder: Path) -> None:
    data = Retrieval(folder, batch_size=4)
    x, lengths, y = next(iter(data.test_dataloader()))
    assert x.shape == (4, 2, int(lengths.max()))
    assert y.tolist() == [1, 0, 0, 1]
    token = byte_tokens(100)
    for row, line in zip(range(4), ROWS, strict=True):
        for which, text in enumerate(line.rstrip(b"\n").split(b"\t")[3:]):
            assert lengths[row, which] == len(text)
            assert x[row, which].tolist() == [token[b] for b in text] + [0] * (x.shape[2] - len(text))
    model = PairClassifier(vocabulary=data.vocabulary, classes=2, width=8, depth=1)
    assert model(x, lengths).shape == (4, 2)
    assert data.splits is not None
    one, length, label = data.splits.test[1]
    assert one.shape == (2, 8)
    assert (length.tolist(), int(label)) == ([8, 2], 0)


def test_documents_are_cut(folder: Path) -> None:
    _, lengths, _ = next(iter(Retrieval(folder, longest=3, batch_size=4).test_dataloader()))
    assert lengths.tolist() == [[3, 3], [3, 2], [1, 1], [2, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "at least one pair"),
        (b"1\ta\tb\ttext\n", "line 1: .* got 4 fields"),
        (b"".join(ROWS)[:-2], "line 4: .*no line end: is the copy whole"),
        (b"2\ta\tb\tx\ty\n", "line 1: expected the label 0 or 1, got b'2'"),
        (ROWS[0] + b"1\ta\tb\t\ty\n", "line 2: expected two texts"),
    ],
)
def test_broken_files(folder: Path, content: bytes, message: str) -> None:
    (folder / FILES[1]).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Retrieval(folder, batch_size=1).setup()
    assert FILES[1] in str(caught.value)


def test_missing_files_are_listed(folder: Path) -> None:
    (folder / FILES[2]).unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)test\.tsv.*without header.*source: https"):
        Retrieval(folder).setup()
