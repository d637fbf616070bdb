"""N-MNIST: handwritten digits as the events of a moving sensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..events import event_frames, read_nmnist, roll
from .digits import stratified
from .files import cache_folder
from .memory import Batch, ByteSequences, MemoryData, Splits

LAYOUT = (
    "Train/<digit>/*.bin and Test/<digit>/*.bin as published, unpacked; or the subset of SLAYER's examples: "
    "<index>.bs2 with train1K.txt and test100.txt (lines: index, digit)"
)
SOURCE = "https://www.garrickorchard.com/datasets/n-mnist"
SIDE = 34
LISTS = {"Train": "train1K.txt", "Test": "test100.txt"}


@dataclass(frozen=True)
class EventFrames(ByteSequences):
    """Event counts uint8 [items, time, 2, height, width], and how far training batches are rolled, in pixels."""

    rolled: int = 0

    def __post_init__(self) -> None:
        if self.values.dtype != torch.uint8 or self.values.ndim != 5 or len(self.labels) != len(self.values):
            found = f"{self.values.dtype} {list(self.values.shape)}, {len(self.labels)} labels"
            raise ValueError(f"expected values as torch.uint8 [items, time, 2, height, width], got {found}")

    def __getitems__(self, indices: list[int]) -> Batch:
        x, y = super().__getitems__(indices)
        return roll(x, self.rolled) if self.rolled else x, y

    def subset(self, indices: Tensor) -> EventFrames:
        return replace(self, values=self.values[indices], labels=self.labels[indices])


class NMNIST(MemoryData[ByteSequences]):
    """N-MNIST as event frames x [batch, time = steps, 2, 34, 34] (events a pixel), y [batch] in 0..9.

    data_dir: the folder with Train/ and Test/, by default in the platform's cache folder. steps, by: how
    `event_frames` cuts a recording (of about 0.3 s). validation: share of the training recordings held out, stratified
    by digit, the same for every `seed`, which gives the order of training batches. rolled: training frames are moved
    by up to so many pixels. Counts above 255 a pixel and step are cut there.

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
        super().__init__(batch_size, seed)
        if not 0 < validation < 1:
            raise ValueError(f"NMNIST: expected validation as a share between 0 and 1, got {validation}")
        if steps < 1 or rolled < 0:
            raise ValueError(f"NMNIST: expected steps of at least 1 and rolled of at least 0, got {steps}, {rolled}")
        self.data_dir = cache_folder("nmnist") if data_dir is None else Path(data_dir).expanduser()
        self.steps, self.by, self.validation, self.rolled = steps, by, validation, rolled

    def read(self) -> Splits[ByteSequences]:
        rest, test = (self._frames(part) for part in ("Train", "Test"))
        train, val = stratified(rest.labels, (1 - self.validation, self.validation), seed=0)
        return Splits(replace(rest.subset(train), rolled=self.rolled), rest.subset(val), test)

    def _frames(self, part: str) -> EventFrames:
        files = recordings(self.data_dir, part)
        values = torch.empty(len(files), self.steps, 2, SIDE, SIDE, dtype=torch.uint8)
        for row, (path, _) in enumerate(files):
            values[row] = event_frames(read_nmnist(path), self.steps, self.by).clamp(max=255)
        return EventFrames(values, torch.tensor([digit for _, digit in files]), scale=1)


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
