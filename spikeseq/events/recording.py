"""One recording of an event sensor, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST = 2**62


@dataclass(frozen=True)
class Recording:
    """Events in the order of time: t int64 [events] in microseconds, x, y int64 (pixels; y = 0 is the top row), p bool.

    p: True where it grew brighter. size: (height, width) of the sensor; an audio sensor has height 1 and x = channel.
    """

    t: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    p: NDArray[np.bool_]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.t)

    def between(self, begin: int, end: int) -> Recording:
        """The events with begin <= t < end."""
        first, last = np.searchsorted(self.t, (begin, end))
        part = slice(int(first), int(last))
        return Recording(self.t[part], self.x[part], self.y[part], self.p[part], self.size)

    def scaled(self, height: int, width: int) -> Recording:
        """The same events on a coarser sensor: x -> floor(x width / old width), y alike. Pixels merge, none is lost."""
        if not (1 <= height <= self.size[0] and 1 <= width <= self.size[1]):
            raise ValueError(f"expected a size of 1..{self.size[0]} by 1..{self.size[1]}, got {height} by {width}")
        x, y = self.x * width // self.size[1], self.y * height // self.size[0]
        return Recording(self.t, x, y, self.p, (height, width))


def recording(path: Path, t: ArrayLike, x: ArrayLike, y: ArrayLike, p: ArrayLike, size: tuple[int, int]) -> Recording:
    """The events of a file. ValueError, naming it, for events out of order or outside the sensor and broken numbers."""
    times, columns, rows = (_whole(path, name, values) for name, values in (("t", t), ("x", x), ("y", y)))
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        at = int(back[0])
        raise ValueError(
            f"{path}: expected events in the order of time, got {times[at + 1]} us after {times[at]} us "
            f"at event {at + 1}"
        )
    outside = np.flatnonzero((columns < 0) | (columns >= size[1]) | (rows < 0) | (rows >= size[0]))
    if len(outside):
        at = int(outside[0])
        raise ValueError(
            f"{path}: expected events on a sensor of height {size[0]} and width {size[1]}, "
            f"got x = {columns[at]}, y = {rows[at]} at event {at}"
        )
    return Recording(times, columns, rows, np.asarray(p).astype(bool), size)


def _whole(path: Path, name: str, values: ArrayLike) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected numbers as {name}, got {values.dtype}")
    if values.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.abs(values) < LARGEST) | (values % 1 != 0))
        if len(wrong):
            raise ValueError(
                f"{path}: expected whole numbers below 2^62 as {name}, got {values[wrong[0]]} at event {wrong[0]}"
            )
    return values.astype(np.int64)
