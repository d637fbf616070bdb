"""N-MNIST from a few recordings written here, in both layouts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeseq.events import event_frames, read_nmnist
from spikeseq.tasks.maps import EventFrames
from spikeseq.tasks.nmnist import NMNIST, recordings
from tests.tasks.from_config import logits


def write(path: Path, seed: int) -> None:
    """Forty events at random places, in the order of time."""
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 2**18, 40))
    raw = np.stack((random.integers(0, 34, 40), random.integers(0, 34, 40), t >> 16, t >> 8 & 255, t & 255), 1)
    raw[:, 2] |= random.integers(0, 2, 40) << 7
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for digit in range(10):
        for i in range(4):
            write(tmp_path / "Train" / str(digit) / f"{i:05}.bin", 10 * digit + i)
        write(tmp_path / "Test" / str(digit) / "00000.bin", 1000 + digit)
    return tmp_path


def test_batches_are_the_frames_of_the_files(folder: Path) -> None:
    data = NMNIST(folder, steps=5, validation=0.25, batch_size=4)
    x, y = next(iter(data.test_dataloader()))
    assert (x.shape, x.dtype, y.tolist()) == ((4, 5, 2, 34, 34), torch.float32, [0, 1, 2, 3])
    assert torch.equal(x[2], event_frames(read_nmnist(folder / "Test" / "2" / "00000.bin"), 5))
    assert data.splits is not None
    assert (len(data.splits.train), len(data.splits.val), len(data.splits.test)) == (30, 10, 10)
    assert data.splits.val.labels.sort().values.tolist() == list(range(10))


def as_subset(folder: Path, flat: Path) -> Path:
    """The same recordings in the layout of SLAYER's examples."""
    for part, listed in (("Train", "train1K.txt"), ("Test", "test100.txt")):
        lines = ["#sample #class"]
        for path, digit in recordings(folder, part):
            index = f"{part}{digit}{path.stem}"
            (flat / f"{index}.bs2").write_bytes(path.read_bytes())
            lines.append(f"{index}\t{digit}")
        (flat / listed).write_text("\n".join(lines) + "\n")
    return flat


def test_slayers_subset_is_the_same_data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    flat = as_subset(folder, tmp_path_factory.mktemp("flat"))
    one, other = (NMNIST(f, validation=0.25, batch_size=4) for f in (folder, flat))
    for data in (one, other):
        data.setup()
    assert one.splits is not None
    assert other.splits is not None
    for part in ("train", "val", "test"):
        a, b = getattr(one.splits, part), getattr(other.splits, part)
        assert torch.equal(a.values, b.values)
        assert torch.equal(a.labels, b.labels)


def test_a_changed_list_is_read_again(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    flat = as_subset(folder, tmp_path_factory.mktemp("flat"))

    def digits() -> list[int]:
        data = NMNIST(flat, validation=0.25, batch_size=4)
        data.setup()
        assert data.splits is not None
        return data.splits.test.labels.tolist()

    assert digits() == list(range(10))
    listed = flat / "test100.txt"
    listed.write_text(listed.read_text().replace("\t3", "\t4"))
    assert digits() == [0, 1, 2, 4, 4, 5, 6, 7, 8, 9]


def test_only_training_frames_roll(folder: Path) -> None:
    torch.manual_seed(0)
    data = NMNIST(folder, validation=0.25, rolled=3, batch_size=4)
    data.setup()
    assert data.splits is not None
    for part, moves in (("train", True), ("val", False), ("test", False)):
        split = getattr(data.splits, part)
        x, _ = split.__getitems__([0, 1, 2])
        assert bool((x != split.values[:3]).any()) == moves
        assert torch.equal(x.sum((2, 3, 4)), split.values[:3].float().sum((2, 3, 4)))


def test_bad_input_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing: .*Train.*\*\.bin\nlayout: .*\nsource: https"):
        NMNIST(tmp_path / "nothing").setup()
    (tmp_path / "train1K.txt").write_text("1 5\n2 0\n")
    with pytest.raises(FileNotFoundError, match=r"missing: .*1\.bs2, .*2\.bs2"):
        NMNIST(tmp_path).setup()
    (tmp_path / "train1K.txt").unlink()
    bad = folder / "Train" / "3" / "00001.bin"
    bad.write_bytes(bad.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"3/00001\.bin: expected whole events of 5 bytes"):
        NMNIST(folder).setup()
    settings: list[tuple[dict[str, Any], str]] = [
        ({"validation": 1.0}, "share between 0 and 1"), ({"steps": 0}, "steps and side of at least 1, got 0, None"),
        ({"rolled": -1}, "rolled of at least 0, got -1"), ({"by": "size"}, "one of time, count, voxel, got 'size'"),
    ]  # fmt: skip
    for more, message in settings:
        with pytest.raises(ValueError, match=message):
            NMNIST(folder, **more)
    with pytest.raises(ValueError, match=r"uint8 \[items, time, 2, height, width\], got torch.float32"):
        EventFrames(torch.zeros(1, 1, 2, 3, 3), torch.zeros(1).long(), 1)


def test_the_model_of_the_config_takes_these_frames(folder: Path) -> None:
    more = ["--data.init_args.validation", ".25", "--data.init_args.batch_size", "4"]
    assert logits("events/nmnist.yaml", folder, *more).shape == (2, 10)
