"""DAT, the format of Prophesee's older recordings, such as N-CARS."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording, recording

EVENT_BYTES = 8
CHANGES = (0x00, 0x0C)  # the event types of contrast changes, in files of version 1 and 2


def read_dat(path: str | Path, size: tuple[int, int] = (240, 304)) -> Recording:
    """DAT of contrast changes: little-endian microseconds, then x (14 bits), y (14), polarity. size: (height, width).

    Before them come lines that begin with %, one byte for the type of event and one for its size. ValueError, naming
    the file, for other events, a truncated file, events out of order or outside the sensor.
    Source: Sironi et al., "HATS: Histograms of averaged time surfaces", CVPR 2018; Prophesee, "DAT file format".
    """
    path = Path(path)
    raw = path.read_bytes()
    begin = 0
    while raw[begin : begin + 1] == b"%":
        begin = raw.find(b"\n", begin) + 1 or len(raw)
    kind = tuple(raw[begin : begin + 2])
    if begin == 0 or len(kind) < 2 or kind[0] not in CHANGES or kind[1] != EVENT_BYTES:
        raise ValueError(f"{path}: expected a header of % lines and contrast changes of 8 bytes, got type, size {kind}")
    body = raw[begin + 2 :]
    if len(body) % EVENT_BYTES:
        raise ValueError(f"{path}: expected whole events of 8 bytes after the header, got {len(body)} bytes")
    t, word = np.frombuffer(body, "<u4").reshape(-1, 2).T.astype(np.int64)
    return recording(path, t, word & 0x3FFF, word >> 14 & 0x3FFF, word >> 28 & 1, size)
