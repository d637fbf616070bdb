"""The .bin format of N-MNIST and N-Caltech101: 5 bytes an event."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording, recording

EVENT_BYTES = 5
OVERFLOW_ROW = 240  # no event: the clock's 13 low bits ran over
OVERFLOW = 1 << 13


def read_nmnist(path: str | Path, size: tuple[int, int] = (34, 34)) -> Recording:
    """Big-endian 40 bits an event: x (8), y (8), polarity (1), microseconds (23). size: (height, width).

    ValueError, naming the file, for an empty or truncated file, events out of order or outside the sensor.
    Source: Orchard et al., "Converting static image datasets to spiking neuromorphic datasets using saccades", 2015.
    """
    path = Path(path)
    raw = np.fromfile(path, np.uint8)
    if len(raw) == 0 or len(raw) % EVENT_BYTES:
        raise ValueError(f"{path}: expected whole events of {EVENT_BYTES} bytes, at least one, got {len(raw)} bytes")
    x, y, high, middle, low = raw.reshape(-1, EVENT_BYTES).T.astype(np.int64)
    marks = y == OVERFLOW_ROW
    t = ((high & 0x7F) << 16 | middle << 8 | low) + OVERFLOW * np.cumsum(marks)
    events = ~marks
    return recording(path, t[events], x[events], y[events], (high >> 7)[events], size)
