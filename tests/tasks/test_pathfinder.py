"""Pathfinder's data module: drawn images kept in chunks, released folders in both forms of their metadata."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeseq.tasks import pathfinder
from spikeseq.tasks.pathfinder import Pathfinder, PathX, read_released


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spikeseq" / "pathfinder"


def released(folder: Path, side: int = 32) -> Path:
    """Two batches of four images, the first with text lines, the second with an array of strings."""
    rng = np.random.default_rng(0)
    (folder / "metadata").mkdir(parents=True)
    for batch in (0, 1):
        (folder / "imgs" / str(batch)).mkdir(parents=True)
        rows = []
        for i in range(4):
            pixels = rng.integers(0, 256, (side, side)).astype(np.uint8)
            pixels[0, 0] = 10 * batch + i
            Image.fromarray(pixels).save(folder / "imgs" / str(batch) / f"sample_{i}.png")
            rows.append([f"imgs/{batch}", f"sample_{i}.png", str(i), str(i % 2), "1.0", "14"])
        path = folder / "metadata" / f"{batch}.npy"
        if batch:
            np.save(path, np.array(rows))
        else:
            path.write_text("\n".join(" ".join(row) for row in rows))
    return folder


def test_drawn_images_are_tokens_kept_in_chunks(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathfinder, "CHUNK", 6)
    data = Pathfinder(train=6, validation=2, test=4, batch_size=4)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (4, 1024)
    assert not x.is_floating_point()
    assert 0 <= x.min() <= x.max() <= 255
    assert y.shape == (4,)
    assert data.splits is not None
    assert data.splits.train.labels.sum() == 3
    files = {path: path.stat().st_mtime_ns for path in (cache / "32-0").iterdir()}
    assert sorted(path.name for path in files) == ["0.npz", "1.npz"]
    again = Pathfinder(train=4, validation=4, test=1, batch_size=4).read()
    assert again.train.tokens.equal(data.splits.train.tokens[:4])
    assert {path: path.stat().st_mtime_ns for path in (cache / "32-0").iterdir()} == files
    (cache / "32-0" / "1.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"1\.npz.*broken file.*delete it"):
        Pathfinder(train=6, validation=2, test=4).read()


def test_a_chunk_depends_on_its_number_and_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pathfinder, "CHUNK", 3)
    chunk = Pathfinder(data_seed=1)._drawn(2)
    images, scenes = pathfinder.draw(3, (1, 2))
    assert np.array_equal(chunk["images"], images)
    assert np.array_equal(chunk["labels"], scenes.labels)


def test_processes_keep_the_order() -> None:
    assert pathfinder._in_parallel([partial(dict, n=np.array(i)) for i in range(20)]) == [{"n": i} for i in range(20)]


def test_released_folder(tmp_path: Path) -> None:
    folder = released(tmp_path / "data")
    for _ in range(2):  # read, then kept
        splits = Pathfinder(folder, train=4, validation=2, test=2, batch_size=2).read()
        parts = (splits.train, splits.val, splits.test)
        assert [len(part) for part in parts] == [4, 2, 2]
        first = {int(row[0]): int(label) for part in parts for row, label in zip(part.tokens, part.labels, strict=True)}
        assert first == {10 * batch + i: i % 2 for batch in (0, 1) for i in range(4)}
    with pytest.raises(ValueError, match="expected train \\+ validation \\+ test = 9 images, got 8"):
        Pathfinder(folder, train=5, validation=2, test=2).read()


def broken(folder: Path, how: str) -> str:
    """Damages the folder and says what the error must say."""
    metadata, image = folder / "metadata" / "0.npy", folder / "imgs" / "0" / "sample_2.png"
    if how == "missing image":
        image.unlink()
        return r"missing: .*sample_2\.png and 0 more of the 4 images of .*0\.npy"
    if how == "truncated image":
        image.write_bytes(image.read_bytes()[:200])
        return r"sample_2\.png: expected a whole PNG"
    if how == "no image":
        image.write_bytes(b"")
        return r"sample_2\.png: expected a whole PNG"
    if how == "size":
        Image.new("L", (16, 32)).save(image)
        return r"sample_2\.png: expected 32 x 32 pixels, got \[32, 16\]"
    if how == "label":
        metadata.write_text("imgs/0 sample_0.png 0 2 1.0")
        return r"0\.npy, row 0: expected .* label 0 or 1"
    if how == "pickle":
        np.save(metadata, np.array([["imgs/0", "sample_0.png", 0, 1]], dtype=object), allow_pickle=True)
        return r"0\.npy: expected text lines or an array of strings"
    if how == "truncated array":
        np.save(metadata, np.array([["imgs/0", "sample_0.png", "0", "1"]]))
        metadata.write_bytes(metadata.read_bytes()[:-3])
        return r"0\.npy: expected text lines or an array of strings"
    metadata.write_text("\n")
    return r"0\.npy: expected at least one image"


@pytest.mark.parametrize(
    "how", ["missing image", "truncated image", "no image", "size", "label", "pickle", "truncated array", "empty"]
)
def test_broken_folders(tmp_path: Path, how: str) -> None:
    folder = released(tmp_path / "data")
    message = broken(folder, how)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_released(folder / "metadata" / "0.npy", 32)


def test_missing_metadata(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)missing: .*metadata.*layout: .*source: https"):
        PathX(tmp_path).setup()
