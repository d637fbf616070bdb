"""Spiking Heidelberg Digits and Spiking Speech Commands: HDF5 files of cochlea spikes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .recording import Recording, recording

CHANNELS = 700
KEYS = ("spikes/times", "spikes/units", "labels")
ROWS = 1024  # read at once: Speech Commands would take many gigabytes as a whole


def read_spoken(path: str | Path) -> list[tuple[Recording, int]]:
    """All recordings of an SHD or SSC file and their labels; x is the cochlea's channel 0..699, y = 0, p True.

    Layout: spikes/times (seconds) and spikes/units, one row of any length a recording, and labels. Spikes of one
    recording are put in the order of time (16-bit times make ties). ImportError without h5py; ValueError, naming the
    file, for anything that is no whole HDF5 file of that layout, or for times or channels that cannot be.
    Source: Cramer et al., "The Heidelberg Spiking Data Sets", arXiv 1910.07407.
    """
    return list(iter_spoken(path))


def iter_spoken(path: str | Path) -> Iterator[tuple[Recording, int]]:
    """The same, one recording after another, for files that are large."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ImportError("SHD and SSC are HDF5 files: pip install 'spikeseq[events]'") from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected an HDF5 file, found nothing at {path}")
    try:
        with h5py.File(path, "r") as file:
            columns = [d for key in KEYS if isinstance(d := file.get(key), h5py.Dataset) and d.ndim == 1]
            if len(columns) < len(KEYS):
                raise OSError(f"found {len(columns)} of these lists")
            times, units, labels = columns
            if not len(times) == len(units) == len(labels):
                raise ValueError(
                    f"{path}: expected as many times, units and labels, got {len(times)}, {len(units)}, {len(labels)}"
                )
            for row in range(0, len(labels), ROWS):
                part = slice(row, row + ROWS)
                for seconds, channels, label in zip(times[part], units[part], labels[part], strict=True):
                    yield _spoken(path, seconds, channels), _label(path, label)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: expected HDF5 with {', '.join(KEYS)}: {error}") from error


def _spoken(path: Path, seconds: np.ndarray, channels: np.ndarray) -> Recording:
    if not np.ndim(seconds) == np.ndim(channels) == 1:
        raise ValueError(f"{path}: expected a list of times and one of units for each recording, got single numbers")
    if len(seconds) != len(channels):
        raise ValueError(f"{path}: expected a unit for each time, got {len(channels)} and {len(seconds)}")
    t = np.round(np.asarray(seconds, np.float64) * 1e6)
    if not (np.isfinite(t) & (t >= 0)).all():
        raise ValueError(f"{path}: expected times of at least 0 s, got {seconds[~(np.isfinite(t) & (t >= 0))][0]}")
    order = np.argsort(t, kind="stable")
    none = np.zeros(len(t), np.int64)
    return recording(path, t[order], channels[order], none, none == 0, (1, CHANNELS))


def _label(path: Path, label: object) -> int:
    value = np.asarray(label)
    if value.dtype.kind not in "iuf" or not np.isfinite(value) or value % 1:
        raise ValueError(f"{path}: expected whole numbers as labels, got {label!r}")
    return int(value)
