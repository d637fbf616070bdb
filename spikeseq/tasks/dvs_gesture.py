"""DVS128 Gesture: eleven gestures of arms and hands before an event camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from ..events import Recording, read_gestures
from ..events.gesture import GESTURES
from .files import require
from .maps import Maps
from .memory import ByteSequences, Splits
from .recordings import Cut, EventData, data_folder

LISTS = ("trials_to_train.txt", "trials_to_test.txt")
LAYOUT = (
    "the folder DvsGesture as published, unpacked: trials_to_train.txt and trials_to_test.txt (a file name a line), "
    "and for each user##_<light>.aedat its user##_<light>_labels.csv"
)
SOURCE = "https://research.ibm.com/interactive/dvsgesture/ (DvsGesture.tar.gz)"


class DVSGesture(EventData):
    """DVS128 Gesture as event frames x [batch, time = steps, 2, side, side] (events a pixel), y [batch] in 0..10.

    data_dir: the folder DvsGesture, by default in the platform's cache folder. steps, by, side: how a gesture (of about
    6 s) is cut, see `recordings.Cut`; voxel grids have one channel. The published test split is of users of its own,
    so the validation split is too: that share of the training users, at least one, the same for every `seed`, which
    gives the order of training batches. rolled: training frames are moved by up to so many pixels; they are not
    mirrored, which would make other gestures of them (the right hand's wave the left's). Frames are kept in the cache
    folder; all gestures (122 recordings of about 12) at 16 steps and side 128 take 0.8 GB of memory, and twice as
    much while they are read.

    Raises FileNotFoundError that lists missing files, their layout and source; ValueError, naming the file, for lists
    and recordings that are not what they should be.

    Source: Amir et al., "A low power, fully event-based gesture recognition system", CVPR 2017.
    """

    classes = GESTURES

    def __init__(
        self,
        data_dir: str | Path | None = None,
        steps: int = 16,
        by: str = "count",
        side: int = 128,
        validation: float = 0.1,
        rolled: int = 0,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        folder = data_folder(data_dir, "DvsGesture")
        super().__init__(folder, Cut(steps, by, side), validation, rolled, False, batch_size, seed)

    def read(self) -> Splits[ByteSequences]:
        rest, test = trials(self.data_dir)
        users = sorted({_user(path) for path in rest})
        order = torch.randperm(len(users), generator=torch.Generator().manual_seed(0)).tolist()
        held_out = {users[i] for i in order[: max(1, round(self.validation * len(users)))]}
        train, val = ([path for path in rest if (_user(path) in held_out) == held] for held in (False, True))
        if not train:
            raise ValueError(f"{self.data_dir / LISTS[0]}: expected trials of at least two users, got {users}")
        frames = self._frames(train)
        return Splits(frames.varied(self.rolled), self._frames(val), self._frames(test))

    def _frames(self, paths: list[Path]) -> Maps:
        def gestures() -> Iterator[tuple[Path, Recording, int]]:
            for path in paths:
                yield from ((path, events, label) for events, label in read_gestures(path))

        return self.framed([*paths, *map(_labels, paths)], gestures)


def trials(folder: Path) -> tuple[list[Path], list[Path]]:
    """The recordings of the training and the test list, all of them there, none in both, and none in neither."""
    train, test = (
        [line.strip() for line in path.read_text().splitlines() if line.strip()]
        for path in require(folder, LISTS, LAYOUT, SOURCE)
    )
    for name, listed in zip(LISTS, (train, test), strict=True):
        wrong = [line for line in listed if not line.endswith(".aedat") or listed.count(line) > 1]
        if wrong or not listed:
            raise ValueError(f"{folder / name}: expected one .aedat file a line, each once, got {wrong[:3]}")
    both = sorted({*train} & {*test})
    if both:
        raise ValueError(f"{folder / LISTS[1]}: expected no trial of {LISTS[0]}, got {', '.join(both[:3])}")
    paths = require(folder, (*train, *test), LAYOUT, SOURCE)
    require(folder, tuple(_labels(path).name for path in paths), LAYOUT, SOURCE)
    unlisted = sorted({path.name for path in folder.glob("*.aedat")} - {*train, *test})
    if unlisted:
        raise ValueError(
            f"{folder}: expected each recording in {' or '.join(LISTS)}, "
            f"{unlisted[0]} and {len(unlisted) - 1} more are in neither: are the lists whole?"
        )
    return paths[: len(train)], paths[len(train) :]


def _labels(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.csv")


def _user(path: Path) -> str:
    return path.stem.split("_")[0]
