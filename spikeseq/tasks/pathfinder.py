"""Pathfinder and Path-X of the Long Range Arena: do both markers lie on one dashed contour?"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .files import Arrays, cache_folder, kept
from .memory import MemoryData, Splits, TokenRows
from .snakes import PATHFINDER, PATHX, draw

CHUNK = 500  # images drawn from one seed and kept in one file
FEW = 8  # chunks done sooner than processes start
LAYOUT = "metadata/<k>.npy and imgs/<k>/sample_<i>.png, as released (pathfinder32/curv_contour_length_14, ...)"
SOURCE = "https://github.com/google-research/long-range-arena (lra_release.gz, folders pathfinder32 and pathfinder128)"


class Pathfinder(MemoryData[TokenRows]):
    """Images of 32 x 32 as tokens x [batch, time = 1024] in 0..255, the grey values row by row; y [batch] in 0, 1.

    Without data_dir: our own images by the published rules (`snakes`), drawn from `data_seed` and kept in the
    platform's cache folder, half of them of each class; a drawing that was broken off goes on where it was. With
    data_dir: the released folder, of which `train`, `validation` and `test` images are taken in an order that is the
    same for every `seed`; `seed` orders the training batches.

    Raises FileNotFoundError for missing images, and ValueError, naming the file, for what is not as it should be.

    Source: Linsley et al., arXiv 1805.08315; arXiv 2011.04006.
    """

    classes = 2
    vocabulary = 256
    rules = PATHFINDER

    def __init__(
        self,
        data_dir: str | Path | None = None,
        train: int = 160_000,
        validation: int = 20_000,
        test: int = 20_000,
        data_seed: int = 0,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.data_dir = None if data_dir is None else Path(data_dir).expanduser()
        self.sizes = (train, validation, test)
        self.data_seed = data_seed

    def read(self) -> Splits[TokenRows]:
        if min(self.sizes) < 1:
            raise ValueError(f"{type(self).__name__}: expected at least one image a split, got {self.sizes}")
        count = sum(self.sizes)
        if self.data_dir is None:
            files = _in_parallel([partial(self._drawn, i) for i in range(-(-count // CHUNK))])
        else:
            files = _in_parallel([partial(self._read_released, path) for path in metadata_files(self.data_dir)])
        images, labels = (np.concatenate([file[name] for file in files]) for name in ("images", "labels"))
        if len(labels) < count:
            raise ValueError(f"{self.data_dir}: expected train + validation + test = {count} images, got {len(labels)}")
        data = TokenRows(torch.from_numpy(images).flatten(1), torch.from_numpy(labels).long())
        order = torch.arange(count)
        if self.data_dir is not None:
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
        return Splits(*(data.subset(part) for part in order.split(self.sizes)))

    def _drawn(self, chunk: int) -> Arrays:
        def make() -> Arrays:
            images, scenes = draw(CHUNK, (self.data_seed, chunk), self.rules)
            return {"images": images, "labels": scenes.labels}

        return kept(cache_folder("pathfinder") / f"{self.rules.window}-{self.data_seed}" / f"{chunk}.npz", make)

    def _read_released(self, metadata: Path) -> Arrays:
        state = metadata.stat()
        mark = repr((str(metadata.resolve()), state.st_size, state.st_mtime_ns))
        path = cache_folder("pathfinder") / "released" / f"{hashlib.sha256(mark.encode()).hexdigest()[:32]}.npz"
        return kept(path, partial(read_released, metadata, self.rules.window))


class PathX(Pathfinder):
    """The same with images of 128 x 128: time = 16,384."""

    rules = PATHX


def _in_parallel(calls: list[partial[Arrays]]) -> list[Arrays]:
    """In as many processes as there are cores, where that pays; what comes out does not depend on their number."""
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=-1 if len(calls) > FEW else 1)(delayed(call)() for call in calls))  # type: ignore


def metadata_files(folder: Path) -> list[Path]:
    """metadata/<k>.npy in the order of k."""
    paths = [path for path in (folder / "metadata").glob("*.npy") if path.stem.isdecimal()]
    if not paths:
        raise FileNotFoundError(f"missing: {folder / 'metadata'}/<k>.npy\nlayout: {LAYOUT}\nsource: {SOURCE}")
    return sorted(paths, key=lambda path: int(path.stem))


def read_released(metadata: Path, window: int) -> Arrays:
    """The images and labels that one metadata file lists."""
    from PIL import Image, UnidentifiedImageError

    rows = _rows(metadata)
    root = metadata.parents[1]
    paths = [root / row[0] / row[1] for row in rows]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"missing: {missing[0]} and {len(missing) - 1} more of the {len(paths)} images of {metadata}"
        )
    images: list[NDArray[np.uint8]] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("L")))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ValueError(f"{path}: expected a whole PNG image, got {error}") from error
        if images[-1].shape != (window, window):
            raise ValueError(f"{path}: expected {window} x {window} pixels, got {list(images[-1].shape)}")
    return {"images": np.stack(images), "labels": np.array([int(row[3]) for row in rows], np.uint8)}


def _rows(metadata: Path) -> list[list[str]]:
    """The fields of each image: folder, file, number, label, ... Released as text lines, by the generator as arrays of
    strings."""
    raw = metadata.read_bytes()
    try:
        if raw.startswith(b"\x93NUMPY"):
            rows = [[str(field) for field in row] for row in np.load(metadata, allow_pickle=False).astype(str)]
        else:
            rows = [line.split() for line in raw.decode().splitlines() if line.strip()]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{metadata}: expected text lines or an array of strings, got {error}") from error
    for number, row in enumerate(rows):
        if len(row) < 4 or row[3] not in ("0", "1"):
            raise ValueError(f"{metadata}, row {number}: expected folder, file, number, label 0 or 1, got {row[:4]}")
    if not rows:
        raise ValueError(f"{metadata}: expected at least one image, got none")
    return rows
