"""What the data sets of events share: recordings cut into steps, kept in the cache folder, a part held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..events import Recording, event_frames, voxel_grid
from .digits import stratified
from .files import Arrays, cache_folder, kept
from .maps import EventFrames, Maps, VoxelGrids
from .memory import ByteSequences, MemoryData

CUTS = ("time", "count", "voxel")
MOST = 255  # that a byte holds
Labelled = Iterable[tuple[Path, Recording, int]]


@dataclass(frozen=True)
class Cut:
    """How a recording becomes dense.

    by: "time" or "count", event counts a pixel, as in `event_frames`, uint8 [steps, 2, height, width], cut at 255;
    "voxel", as in `voxel_grid`, float16 [steps, 1, height, width]. side: the sensor's pixels are merged into side x
    side; None leaves them.
    """

    steps: int
    by: str = "time"
    side: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.side is not None and self.side < 1):
            raise ValueError(f"expected steps and side of at least 1, got {self.steps}, {self.side}")
        if self.by not in CUTS:
            raise ValueError(f"by: expected one of {', '.join(CUTS)}, got {self.by!r}")

    def __call__(self, events: Recording) -> np.ndarray:
        if self.side is not None:
            events = events.scaled(self.side, self.side)
        if self.by == "voxel":
            return voxel_grid(events, self.steps).unsqueeze(1).numpy().astype(np.float16)
        return event_frames(events, self.steps, self.by).clamp_(max=MOST).numpy().astype(np.uint8)


class EventData(MemoryData[ByteSequences]):
    """A data set of events in memory, of which `cut` makes frames; a task gives `read()`.

    validation: the share of the training recordings that is held out, the same for every `seed`. rolled, flipped:
    augmentation of training batches, see `maps.Maps`.
    """

    def __init__(
        self,
        data_dir: Path,
        cut: Cut,
        validation: float,
        rolled: int,
        flipped: bool,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size, seed)
        check_share(self, validation)
        if rolled < 0:
            raise ValueError(f"{type(self).__name__}: expected rolled of at least 0, got {rolled}")
        self.data_dir, self.cut = data_dir, cut
        self.validation, self.rolled, self.flipped = validation, rolled, flipped

    def framed(self, paths: list[Path], labelled: Callable[[], Labelled]) -> Maps:
        """The recordings of `labelled`, cut and kept until one of the files `paths` is another.

        ValueError, naming the file, for a recording without events.
        """

        def make() -> Arrays:
            frames, labels = [], []
            for path, events, label in labelled():
                if not len(events):
                    raise ValueError(f"{path}: expected events, got none: is the copy whole?")
                frames.append(self.cut(events))
                labels.append(label)
            return {"values": np.stack(frames), "labels": np.array(labels, np.int64)}

        arrays = kept_by(paths, (type(self).__name__, self.cut), make)
        values, labels = (torch.from_numpy(arrays[key]) for key in ("values", "labels"))
        return (VoxelGrids if self.cut.by == "voxel" else EventFrames)(values, labels, scale=1)


def check_share(owner: object, validation: float) -> None:
    if not 0 < validation < 1:
        raise ValueError(f"{type(owner).__name__}: expected validation as a share between 0 and 1, got {validation}")


def held_out(data: Maps, items: Tensor, validation: float) -> tuple[Maps, Maps]:
    """A training and a validation part of these items of `data`, stratified by class, always the same."""
    train, val = stratified(data.labels[items], (1 - validation, validation), seed=0)
    return data.subset(items[train]), data.subset(items[val])


def kept_by(paths: list[Path], setting: object, make: Callable[[], Arrays]) -> Arrays:
    """`make`'s arrays, kept in the cache folder for these very files and this setting."""
    marks = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(repr((marks, setting)).encode()).hexdigest()[:32]
    return kept(cache_folder("events") / f"{key}.npz", make)


def data_folder(data_dir: str | Path | None, name: str) -> Path:
    """The folder that the user names, by default `name` in the platform's cache folder."""
    return cache_folder(name) if data_dir is None else Path(data_dir).expanduser()
