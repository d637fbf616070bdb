"""Spiking Heidelberg Digits and Spiking Speech Commands: spoken words as spikes of a cochlea."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..events import Recording, iter_spoken
from ..events.spoken import CHANNELS
from .files import Arrays, require
from .maps import SpikeCounts
from .memory import ByteSequences, MemoryData, Splits
from .recordings import MOST, check_share, data_folder, held_out, kept_by

SOURCE = "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/ (the .h5.gz files, unpacked)"


class Spoken(MemoryData[ByteSequences]):
    """Spike counts x [batch, time = steps, units], y [batch]; a data set gives `files` and `classes`.

    steps, duration: a recording's first `duration` seconds are cut into so many spans of equal length, what comes later
    is left out. units: the cochlea's 700 channels in so many groups of neighbours. Counts above 255 are cut there.
    rolled: training batches are moved by up to so many units.
    """

    files: tuple[str, ...]
    classes: int

    def __init__(
        self,
        data_dir: Path,
        steps: int,
        duration: float,
        units: int,
        rolled: int,
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(batch_size, seed)
        name = type(self).__name__
        if steps < 1 or not duration > 0 or rolled < 0:
            got = f"{steps}, {duration}, {rolled}"
            raise ValueError(f"{name}: expected steps >= 1, duration > 0 and rolled >= 0, got {got}")
        if units < 1 or CHANNELS % units:
            raise ValueError(f"{name}: expected units that divide {CHANNELS}, got {units}")
        self.data_dir, self.steps, self.duration, self.units, self.rolled = data_dir, steps, duration, units, rolled

    def parts(self) -> list[SpikeCounts]:
        """One a file."""
        layout = f"{', '.join(self.files)} directly in data_dir: HDF5 with spikes/times, spikes/units, labels"
        return [self._counts(path) for path in require(self.data_dir, self.files, layout, SOURCE)]

    def _counts(self, path: Path) -> SpikeCounts:
        def make() -> Arrays:
            rows = list(self._rows(path))
            if not rows:
                raise ValueError(f"{path}: expected recordings, got none")
            values, labels = zip(*rows, strict=True)
            return {"values": np.stack(values), "labels": np.array(labels, np.int64)}

        arrays = kept_by([path], (self.steps, self.duration, self.units), make)
        values, labels = (torch.from_numpy(arrays[key]) for key in ("values", "labels"))
        return SpikeCounts(values, labels, scale=1)

    def _rows(self, path: Path) -> Iterator[tuple[np.ndarray, int]]:
        for item, (events, label) in enumerate(iter_spoken(path)):
            if not 0 <= label < self.classes:
                raise ValueError(f"{path}: expected labels in 0..{self.classes - 1}, got {label} at recording {item}")
            if not len(events):
                raise ValueError(f"{path}: expected spikes, got none at recording {item}")
            yield counts(events, self.steps, self.duration, self.units), label


class SHD(Spoken):
    """Spiking Heidelberg Digits, y in 0..19: zero to nine in German and English. See `Spoken`.

    data_dir: the folder with shd_train.h5 and shd_test.h5, by default in the platform's cache folder. validation: the
    share of the training recordings held out, stratified by class, the same for every `seed`, which gives the order of
    training batches. (Many papers select on the test file, two of whose speakers are in no training file.) All 10,420
    recordings at 100 steps and 140 units take 0.15 GB of memory. Binned counts are kept in the cache folder.

    Raises FileNotFoundError that lists missing files, ValueError, naming the file, for what they should not hold, and
    ImportError without h5py.

    Source: Cramer et al., "The Heidelberg Spiking Data Sets", arXiv 1910.07407.
    """

    files = ("shd_train.h5", "shd_test.h5")
    classes = 20

    def __init__(
        self,
        data_dir: str | Path | None = None,
        steps: int = 100,
        duration: float = 1.4,
        units: int = 140,
        validation: float = 0.1,
        rolled: int = 0,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(data_folder(data_dir, "shd"), steps, duration, units, rolled, batch_size, seed)
        check_share(self, validation)
        self.validation = validation

    def read(self) -> Splits[ByteSequences]:
        rest, test = self.parts()
        train, val = held_out(rest, torch.arange(len(rest)), self.validation)
        return Splits(train.varied(self.rolled), val, test)


class SSC(Spoken):
    """Spiking Speech Commands, y in 0..34: the words of Speech Commands. See `Spoken`.

    data_dir: the folder with ssc_train.h5, ssc_valid.h5 and ssc_test.h5, which give the splits, by default in the
    platform's cache folder. `seed` gives the order of training batches. All 105,829 recordings at 100 steps and 140
    units take 1.5 GB of memory. Errors and source as for `SHD`.
    """

    files = ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5")
    classes = 35

    def __init__(
        self,
        data_dir: str | Path | None = None,
        steps: int = 100,
        duration: float = 1.0,
        units: int = 140,
        rolled: int = 0,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(data_folder(data_dir, "ssc"), steps, duration, units, rolled, batch_size, seed)

    def read(self) -> Splits[ByteSequences]:
        train, val, test = self.parts()
        return Splits(train.varied(self.rolled), val, test)


def counts(events: Recording, steps: int, duration: float, units: int) -> np.ndarray:
    """Spikes a step and unit, uint8 [steps, units]: step floor(t steps / duration), unit floor(channel units / 700)."""
    step = np.floor(events.t * (steps / (1e6 * duration))).astype(np.int64)
    within = step < steps
    cell = step[within] * units + events.x[within] * units // CHANNELS
    return np.bincount(cell, minlength=steps * units).clip(max=MOST).astype(np.uint8).reshape(steps, units)
