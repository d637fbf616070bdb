"""CIFAR10-DVS from a few recordings written here, in AEDAT 2 and, by a stand-in, AEDAT 4."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeseq.events import Recording, event_frames
from spikeseq.tasks.cifar10_dvs import CIFAR10DVS, CLASSES
from tests.events.formats import aedat2, draw
from tests.tasks.from_config import logits

EACH = 10


def event(label: int, i: int) -> Recording:
    """Sixty events; those at the first moment tell which recording it is."""
    return draw(100 * label + i, (128, 128), 1_300_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for label, name in enumerate(CLASSES):
        (tmp_path / "dvs" / name).mkdir(parents=True)
        for i in range(EACH):
            (tmp_path / "dvs" / name / f"cifar10_{name}_{i}.aedat").write_bytes(aedat2(event(label, i)))
    return tmp_path / "dvs"


def load(folder: Path, **options: Any):
    data = CIFAR10DVS(folder, validation=0.2, batch_size=2, **options)
    data.setup()
    assert data.splits is not None
    return data.splits


def frames(label: int, i: int, side: int) -> bytes:
    """Upright: the sensor lay on its side."""
    r = event(label, i)
    upright = replace(r, x=r.y, y=r.x).scaled(side, side)
    return event_frames(upright, 4, "count").to(torch.uint8).numpy().tobytes()


def test_each_class_gives_a_tenth_to_the_test_and_everything_is_somewhere_once(folder: Path) -> None:
    known = {frames(label, i, 48): label for label in range(10) for i in range(EACH)}
    splits = load(folder, steps=4)
    seen = []
    for part, each in ((splits.train, 7), (splits.val, 2), (splits.test, 1)):
        assert part.labels.bincount().tolist() == [each] * 10
        keys = [row.numpy().tobytes() for row in part.values]
        assert [known[key] for key in keys] == part.labels.tolist()
        seen += keys
    assert len(set(seen)) == 10 * EACH
    assert splits.train.values.shape[1:] == (4, 2, 48, 48)
    other = CIFAR10DVS(folder, steps=4, validation=0.4, batch_size=2, seed=3)
    other.setup()
    assert other.splits is not None
    assert other.splits.test.values.equal(splits.test.values), "the test split depends on nothing"


def test_aedat4_is_taken_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upright = load(folder, steps=4)
    for path in folder.rglob("*.aedat"):
        path.rename(path.with_suffix(".aedat4"))
    made = {f"cifar10_{name}_{i}.aedat4": event(label, i) for label, name in enumerate(CLASSES) for i in range(EACH)}
    monkeypatch.setattr("spikeseq.tasks.cifar10_dvs.read_aedat4", lambda path: made[path.name])
    as_is = load(folder, steps=4)
    assert as_is.train.values.equal(upright.train.values.transpose(-2, -1))


def test_training_batches_alone_are_moved_and_mirrored(folder: Path) -> None:
    torch.manual_seed(0)
    splits = load(folder, rolled=3, flipped=True)
    for part, varied in ((splits.train, True), (splits.val, False), (splits.test, False)):
        x, _ = part.__getitems__([0, 1, 2, 3])
        assert bool((x != part.values[:4]).any()) == varied
        assert torch.equal(x.sum((-2, -1)), part.values[:4].float().sum((-2, -1)))
    train = load(folder, flipped=True).train
    x, _ = train.__getitems__(list(range(8)))
    mirrored = [torch.equal(row, known.flip(-1).float()) for row, known in zip(x, train.values, strict=False)]
    assert mirrored == [not torch.equal(row, known.float()) for row, known in zip(x, train.values, strict=False)]
    assert set(mirrored) == {True, False}


def test_counts_are_cut_where_a_byte_ends(folder: Path) -> None:
    many = np.zeros(300, np.int64)
    path = folder / "ship" / "cifar10_ship_0.aedat"
    path.write_bytes(aedat2(Recording(many, many, many, many == 0, (128, 128))))
    splits = load(folder, steps=1)
    assert max(int(part.values.max()) for part in (splits.train, splits.val, splits.test)) == 255


def test_missing_and_half_copied_classes_are_named(folder: Path) -> None:
    for path in (folder / "frog").iterdir():
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"missing: recordings in \S*frog\nlayout: a folder for each.*\nsource: h"
    ):
        load(folder)
    for i in range(EACH - 1):
        (folder / "frog" / f"cifar10_frog_{i}.aedat").write_bytes(aedat2(event(6, i)))
    with pytest.raises(ValueError, match=r"as many recordings of each class.*frog 9.*is the copy whole"):
        load(folder)
    (folder / "frog" / "cifar10_frog_9.aedat4").write_bytes(b"")
    with pytest.raises(ValueError, match=r"all \.aedat or all \.aedat4"):
        load(folder)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (aedat2(event(0, 0))[:-1], "whole events of 8 bytes"),
        (aedat2(replace(event(0, 0), t=event(0, 0).t[::-1])), "order of time"),
        (aedat2(event(0, 0))[: -8 * 60], "expected events, got none: is the copy whole"),
        (b"", "begins with #!AER-DAT2.0"),
    ],
)
def test_bad_recordings_are_named(folder: Path, raw: bytes, message: str) -> None:
    path = folder / "cat" / "cifar10_cat_5.aedat"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert str(path) in str(caught.value)


def test_the_model_of_the_config_takes_these_frames(folder: Path) -> None:
    assert logits("events/cifar10_dvs.yaml", folder, "--data.init_args.steps", "1").shape == (2, 10)
