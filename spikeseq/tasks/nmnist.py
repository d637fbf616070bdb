"""N-MNIST: handwritten digits as the events of a moving sensor."""

from __future__ import annotations

from pathlib import Path

import torch

from ..events import read_nmnist
from .maps import Maps
from .memory import ByteSequences, Splits
from .recordings import Cut, EventData, data_folder, held_out

LAYOUT = (
    "Train/<digit>/*.bin and Test/<digit>/*.bin as published, unpacked; or the subset of SLAYER's examples: "
    "<index>.bs2 with train1K.txt and test100.txt (lines: index, digit)"
)
SOURCE = "https://www.garrickorchard.com/datasets/n-mnist"
LISTS = {"Train": "train1K.txt", "Test": "test100.txt"}


class NMNIST(EventData):
    """N-MNIST as event frames x [batch, time = steps, 2, 34, 34] (events a pixel), y [batch] in 0..9.

    data_dir: the folder with Train/ and Test/, by default in the platform's cache folder. steps, by: how a recording
    (of about 0.3 s) is cut, see `recordings.Cut`; voxel grids have one channel. validation: share of the training
    recordings held out, stratified by digit, the same for every `seed`, which gives the order of training batches.
    rolled: training frames are moved by up to so many pixels. Frames are kept in the cache folder; all 70,000
    recordings at 10 steps take 1.6 GB of memory, and twice as much while they are read.

    Raises FileNotFoundError that says which files are missing, their layout and source; ValueError for files that are
    not what they should be.

    Source: Orchard et al., "Converting static image datasets to spiking neuromorphic datasets using saccades", 2015.
    """

    classes = 10

    def __init__(
        self,
        data_dir: str | Path | None = None,
        steps: int = 10,
        by: str = "time",
        validation: float = 0.1,
        rolled: int = 0,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        folder = data_folder(data_dir, "nmnist")
        super().__init__(folder, Cut(steps, by), validation, rolled, False, batch_size, seed)

    def read(self) -> Splits[ByteSequences]:
        rest, test = (self._frames(part) for part in ("Train", "Test"))
        train, val = held_out(rest, torch.arange(len(rest)), self.validation)
        return Splits(train.varied(self.rolled), val, test)

    def _frames(self, part: str) -> Maps:
        files = recordings(self.data_dir, part)
        listed = [path for path in [self.data_dir / LISTS[part]] if path.is_file()]
        return self.framed(
            [*listed, *(path for path, _ in files)], lambda: ((path, read_nmnist(path), digit) for path, digit in files)
        )


def recordings(folder: Path, part: str) -> list[tuple[Path, int]]:
    """The files of "Train" or "Test" with their digits, in the order of their names."""
    listed = folder / LISTS[part]
    if listed.is_file():
        lines = [line.split() for line in listed.read_text().splitlines() if line and not line.startswith("#")]
        files = [(folder / f"{index}.bs2", int(digit)) for index, digit in lines]
    else:
        files = [(path, int(path.parent.name)) for path in sorted((folder / part).glob("[0-9]/*.bin"))]
    missing = [str(path) for path, _ in files if not path.is_file()]
    if missing or not files:
        named = ", ".join(missing[:5]) or folder / part / "<digit>" / "*.bin"
        raise FileNotFoundError(f"missing: {named}\nlayout: {LAYOUT}\nsource: {SOURCE}")
    return files
