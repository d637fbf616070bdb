"""CIFAR10-DVS: images of CIFAR-10, moved on a screen, as an event camera saw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..events import Recording, read_aedat2, read_aedat4
from .digits import stratified
from .memory import ByteSequences, Splits
from .recordings import Cut, EventData, data_folder, held_out

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SUFFIXES = (".aedat", ".aedat4")
LAYOUT = f"a folder for each of {', '.join(CLASSES)}, with its recordings, *.aedat (AEDAT 2) or *.aedat4"
SOURCE = "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671 (a .zip a class, unpacked)"
TEST = 0.1


class CIFAR10DVS(EventData):
    """CIFAR10-DVS as event frames x [batch, time = steps, 2, side, side] (events a pixel), y [batch] in 0..9.

    data_dir: the folder with the ten classes' folders, by default in the platform's cache folder. steps, by, side: how
    a recording (of 128 x 128 pixels and 1.2 to 1.5 s) is cut, see `recordings.Cut`; voxel grids have one channel. The
    papers scale frames to 48 x 48 by interpolation; here pixels are merged. There is no official split: a tenth of each
    class is the test split, always the same, and of the rest the share `validation` is held out, stratified by class,
    the same for every `seed`, which gives the order of training batches. rolled: training frames are moved by up to
    so many pixels; flipped: half of them are mirrored left to right. AEDAT 2 is turned upright (the sensor lay on its
    side), AEDAT 4 is taken as it is. Frames are kept in the cache folder; all 10,000 at 10 steps take 0.46 GB of memory
    at side 48 and 3.3 GB at side 128, and twice as much while they are read.

    Raises FileNotFoundError that says which classes are missing, their layout and source; ValueError, naming the file,
    for recordings that are not what they should be.

    Source: Li et al., "CIFAR10-DVS: an event-stream dataset for object classification", 2017.
    """

    classes = len(CLASSES)

    def __init__(
        self,
        data_dir: str | Path | None = None,
        steps: int = 10,
        by: str = "count",
        side: int = 48,
        validation: float = 0.1,
        rolled: int = 0,
        flipped: bool = False,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        folder = data_folder(data_dir, "cifar10dvs")
        super().__init__(folder, Cut(steps, by, side), validation, rolled, flipped, batch_size, seed)

    def read(self) -> Splits[ByteSequences]:
        files = class_files(self.data_dir)

        def labelled() -> Iterator[tuple[Path, Recording, int]]:
            return ((path, read_upright(path), label) for path, label in files)

        whole = self.framed([path for path, _ in files], labelled)
        rest, test = stratified(whole.labels, (1 - TEST, TEST), seed=0)
        train, val = held_out(whole, rest, self.validation)
        return Splits(train.varied(self.rolled, self.flipped), val, whole.subset(test))


def class_files(folder: Path) -> list[tuple[Path, int]]:
    """The recordings of all classes with their labels, in the order of their names; as many of each class."""
    found = [sorted(p for p in (folder / name).glob("*") if p.suffix in SUFFIXES) for name in CLASSES]
    missing = [str(folder / name) for name, paths in zip(CLASSES, found, strict=True) if not paths]
    if missing:
        raise FileNotFoundError(f"missing: recordings in {', '.join(missing)}\nlayout: {LAYOUT}\nsource: {SOURCE}")
    if len({len(paths) for paths in found}) > 1 or len({path.suffix for paths in found for path in paths}) > 1:
        counts = ", ".join(f"{name} {len(paths)}" for name, paths in zip(CLASSES, found, strict=True))
        raise ValueError(
            f"{folder}: expected as many recordings of each class, all {' or all '.join(SUFFIXES)}, got {counts}: "
            "is the copy whole?"
        )
    return [(path, label) for label, paths in enumerate(found) for path in paths]


def read_upright(path: Path) -> Recording:
    """A recording of either version; that of AEDAT 2 with rows and columns exchanged, so that images stand upright."""
    if path.suffix == ".aedat4":
        return read_aedat4(path)
    events = read_aedat2(path)
    return replace(events, x=events.y, y=events.x)
