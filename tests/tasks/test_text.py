"""Text from a tiny aclImdb; half-copied folders and empty reviews are errors that name them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeseq.tasks.text import Text, byte_tokens

SIZE = 20  # reviews a folder


def review(split: str, kind: str, number: int) -> bytes:
    return f"{split} {kind} {number} caf\u00e9".encode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        for kind, rating in (("pos", 9), ("neg", 2)):
            (tmp_path / "aclImdb" / split / kind).mkdir(parents=True)
            for number in range(SIZE):
                path = tmp_path / "aclImdb" / split / kind / f"{number}_{rating}.txt"
                path.write_bytes(review(split, kind, number))
    return tmp_path / "aclImdb"


def load(folder: Path, **options: int):
    data = Text(folder, batch_size=4, **options)
    data.setup()
    assert data.splits is not None
    return data.splits


def test_a_tenth_of_training_is_held_out_and_labels_are_right(folder: Path) -> None:
    splits = load(folder)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [36, 4, 40]
    assert splits.val.labels.bincount().tolist() == [2, 2]
    table = byte_tokens(135)
    of = {
        table[np.frombuffer(review(split, kind, number), np.uint8)].tobytes(): (split, label)
        for split in ("train", "test")
        for label, kind in enumerate(("neg", "pos"))
        for number in range(SIZE)
    }
    seen = []
    for name, part in (("train", splits.train), ("train", splits.val), ("test", splits.test)):
        for i in range(len(part)):
            x, length, y = part[i]
            key = x[:length].to(torch.uint8).numpy().tobytes()
            assert of[key] == (name, y)
            seen.append(key)
    assert len(set(seen)) == 4 * SIZE


def test_reviews_are_cut_and_kept(folder: Path, tmp_path: Path) -> None:
    assert load(folder, longest=7).train.offsets.diff().unique().tolist() == [7]
    first = load(folder)
    assert len(list((tmp_path / "cache" / "spikeseq" / "text").iterdir())) == 4
    (folder / "train" / "pos" / "3_9.txt").write_text("another")
    assert not load(folder).train.tokens.equal(first.train.tokens), "a changed review is read again"


@pytest.mark.parametrize("vocabulary", [97, 100, 135, 256])
def test_every_byte_has_a_token_and_printable_ones_their_own(vocabulary: int) -> None:
    table = byte_tokens(vocabulary).astype(int)
    assert table.min() == 1
    assert table.max() == vocabulary - 1
    assert len(set(table)) == vocabulary - 1
    printable = [table[ord(c)] for c in "".join(map(chr, range(0x20, 0x7F)))]
    assert all((table == token).sum() == 1 for token in printable)


@pytest.mark.parametrize("vocabulary", [96, 257])
def test_impossible_vocabularies(vocabulary: int) -> None:
    with pytest.raises(ValueError, match=r"97\.\.256"):
        byte_tokens(vocabulary)


def damaged(folder: Path, how: str) -> str:
    """Damages the folder and says what the error must name."""
    pos = folder / "train" / "pos"
    if how == "gap":
        (pos / "7_9.txt").unlink()
    elif how == "fewer":
        (pos / f"{SIZE - 1}_9.txt").unlink()
    elif how == "no test":
        for path in (folder / "test").rglob("*_*.txt"):
            if int(path.stem.split("_")[0]) >= 5:
                path.unlink()
        return "as many reviews in train as in test, got 40 and 10"
    elif how == "empty":
        (pos / "7_9.txt").write_bytes(b"")
        return r"7_9\.txt: expected a review, got an empty file"
    elif how == "rating":
        (pos / "7_9.txt").rename(pos / "7_3.txt")
        return r"7_3\.txt: expected a name .* rating in 7\.\.10"
    return re.escape(str(pos)) if how == "gap" else "got 20 and 19: is the copy whole"


@pytest.mark.parametrize("how", ["gap", "fewer", "no test", "empty", "rating"])
def test_half_copied_folders(folder: Path, how: str) -> None:
    message = damaged(folder, how)
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)missing: .*neg.*layout: train/pos.*source: https"):
        Text(tmp_path).setup()
