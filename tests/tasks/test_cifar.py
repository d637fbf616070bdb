"""CIFAR-10 from tiny batches in both released formats; nothing but arrays comes out of a pickle."""

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeseq.blocks import EventCNN
from spikeseq.tasks import cifar
from spikeseq.tasks.cifar import BINARY, CIFAR10, PYTHON, ArraysOnly
from tests.tasks.from_config import logits

RECORDS = 20


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    monkeypatch.setattr(cifar, "RECORDS", RECORDS)
    rng = np.random.default_rng(0)
    return {name: (rng.integers(0, 256, (RECORDS, 3072)).astype(np.uint8), np.arange(RECORDS) % 10) for name in PYTHON}


@pytest.fixture
def folder(tmp_path: Path, batches) -> Path:
    for name, (pixels, labels) in batches.items():
        np.concatenate((labels[:, None].astype(np.uint8), pixels), 1).tofile(tmp_path / f"{name}.bin")
    return tmp_path


def load(folder: Path, reading: str = "grey"):
    data = CIFAR10(folder, reading, validation=10, batch_size=5)
    data.setup()
    assert data.splits is not None
    return data.splits


def test_readings_are_the_same_pixels(folder: Path, batches) -> None:
    pixels, labels = batches["test_batch"]
    image = torch.from_numpy(pixels).view(RECORDS, 3, 32, 32)  # channel, row, column
    grey, coloured, columns = (load(folder, reading=name).test for name in ("grey", "pixels", "columns"))
    assert [part.values.shape[1:] for part in (grey, coloured, columns)] == [(1024, 1), (1024, 3), (32, 96)]
    row, column = 3, 17
    assert coloured.values[:, 32 * row + column].equal(image[:, :, row, column])
    assert columns.values[:, column, 32 * 2 + row].equal(image[:, 2, row, column])
    mixed = (image[:, :, row, column].double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)).sum(1)
    assert (grey.values[:, 32 * row + column, 0] - mixed).abs().max() <= 0.5 + 1e-4
    assert grey.labels.tolist() == labels.tolist()
    assert grey[0][0].max() <= 1


def test_splits_are_disjoint_and_whole(folder: Path) -> None:
    splits = load(folder)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [90, 10, 20]
    everything = {row.numpy().tobytes() for part in (splits.train, splits.val, splits.test) for row in part.values}
    assert len(everything) == 6 * RECORDS


def test_python_batches_give_the_same(folder: Path, batches, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = load(folder)
    for name, (pixels, labels) in batches.items():
        raw = pickle.dumps({b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"x"}, protocol=3)
        (folder / name).write_bytes(raw)
        (folder / f"{name}.bin").unlink()
        monkeypatch.setitem(PYTHON, name, hashlib.md5(raw, usedforsecurity=False).hexdigest())
    again = load(folder)
    assert again.train.values.equal(binary.train.values)
    assert again.test.labels.equal(binary.test.labels)
    (folder / "data_batch_3").write_bytes(b"\x80")
    with pytest.raises(ValueError, match=r"data_batch_3: expected the released file with the MD5 sum"):
        load(folder)


def test_a_pickle_that_would_run_code_is_refused() -> None:
    class Evil:
        def __reduce__(self):
            return os.system, ("false",)

    with pytest.raises(ValueError, match=r"file: expected arrays alone, got \w+\.system"):
        ArraysOnly(pickle.dumps(Evil()), Path("file")).load()


@pytest.mark.parametrize("how", ["truncated", "longer", "label"])
def test_bad_batches_name_the_file(folder: Path, how: str) -> None:
    path = folder / BINARY[2]
    raw = path.read_bytes()
    path.write_bytes({"truncated": raw[:-1], "longer": raw + b"\0", "label": b"\x0a" + raw[1:]}[how])
    with pytest.raises(
        ValueError, match=r"in 0\.\.9, got 0\.\.10" if how == "label" else "expected 61460 bytes"
    ) as caught:
        load(folder)
    assert str(path) in str(caught.value)


def test_missing_batches_are_listed(folder: Path) -> None:
    (folder / BINARY[5]).unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)missing: \S*test_batch\.bin\n.*source: https"):
        load(folder)


def test_unknown_reading() -> None:
    with pytest.raises(ValueError, match="grey, pixels, columns, image, got 'rows'"):
        CIFAR10(reading="rows")
    with pytest.raises(ValueError, match="rolled or flipped of images alone, got 'pixels'"):
        CIFAR10(reading="pixels", flipped=True)
    with pytest.raises(ValueError, match="rolled >= 0"):
        CIFAR10(reading="image", rolled=-1)


def test_images_are_the_same_pixels_and_train_moved_and_mirrored(folder: Path, batches) -> None:
    torch.manual_seed(0)
    plain = load(folder, "image")
    assert torch.equal(plain.test.values, torch.from_numpy(batches["test_batch"][0]).view(RECORDS, 3, 32, 32))
    data = CIFAR10(folder, "image", validation=10, batch_size=5, rolled=2, flipped=True)
    data.setup()
    assert data.splits is not None
    for part, varied in (("train", True), ("val", False), ("test", False)):
        x, y = getattr(data.splits, part).__getitems__([3, 4, 5, 6, 7, 8])
        same = getattr(plain, part).values[3:9] / 255
        assert torch.equal(x, same) != varied
        assert y.tolist() == getattr(plain, part).labels[3:9].tolist()
        moves = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
        for image, known in zip(x, same, strict=True):
            seen = [i.roll(move, (-2, -1)) for i in (known, known.flip(-1)) for move in moves]
            assert any(torch.equal(image, s) for s in seen)
    mirrored = CIFAR10(folder, "image", validation=10, batch_size=5, flipped=True)
    mirrored.setup()
    assert mirrored.splits is not None
    x, _ = mirrored.splits.train.__getitems__(list(range(8)))
    known = plain.train.values[:8] / 255
    flips = [torch.equal(a, b.flip(-1)) for a, b in zip(x, known, strict=True)]
    assert flips == [not torch.equal(a, b) for a, b in zip(x, known, strict=True)]
    assert set(flips) == {True, False}


def test_a_spiking_cnn_of_repeated_steps_takes_images(folder: Path) -> None:
    data = CIFAR10(folder, "image", validation=10, batch_size=5)
    x, _ = next(iter(data.test_dataloader()))
    model = EventCNN(10, (3, 32, 32), [[4], [4]], "LIF", steps=2)
    assert model(x).shape == (5, 10)


def test_the_model_of_the_config_takes_these_images(folder: Path) -> None:
    more = ["--data.init_args.validation", "10", "--data.init_args.batch_size", "4"]
    assert logits("images/cifar10_sew.yaml", folder, *more).shape == (2, 10)
