"""Recordings drawn at random, and writers of the published formats from their definitions."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from spikeseq.events import Recording


def draw(seed: int, size: tuple[int, int], last: int, events: int = 60) -> Recording:
    random = np.random.default_rng(seed)
    y, x = (random.integers(0, side, events) for side in size)
    return Recording(np.sort(random.integers(0, last, events)), x, y, random.random(events) < 0.5, size)


def equal(a: Recording, b: Recording) -> bool:
    return a.size == b.size and all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in "txyp"
    )


def nmnist(r: Recording) -> bytes:
    words = [
        (int(x) << 32 | int(y) << 24 | int(p) << 23 | int(t)).to_bytes(5, "big")
        for t, x, y, p in zip(r.t, r.x, r.y, r.p, strict=True)
    ]
    return b"".join(words)


def aedat2(r: Recording) -> bytes:
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# Timestamps tick: 1 us\r\n"
    address = (127 - r.y) << 8 | (127 - r.x) << 1 | ~r.p
    return header + np.stack((address, r.t), 1).astype(">u4").tobytes()


def packet(kind: int, body: bytes, width: int, number: int, overflow: int = 0) -> bytes:
    return struct.pack("<hhiiiiii", kind, 1, width, 4, overflow, number, number, number) + body


def aedat3(r: Recording, valid: Any = True, cut: int = 25) -> bytes:
    """Two polarity packets with one of another kind between them."""
    data = r.x << 17 | r.y << 2 | r.p.astype(np.int64) << 1 | np.broadcast_to(valid, r.t.shape).astype(np.int64)
    pairs = np.stack((data, r.t & 0x7FFFFFFF), 1).astype("<u4")
    header = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    overflow = int(r.t[0] >> 31) if len(r) else 0
    parts = [packet(1, part.tobytes(), 8, len(part), overflow) for part in (pairs[:cut], pairs[cut:])]
    return header + parts[0] + packet(3, b"#" * 72, 36, 2) + parts[1]


def dat(r: Recording, kind: int = 0x0C) -> bytes:
    word = r.x | r.y << 14 | r.p.astype(np.int64) << 28
    return b"% Data file\n% Version 2\n" + bytes((kind, 8)) + np.stack((r.t, word), 1).astype("<u4").tobytes()


def lines(r: Recording) -> bytes:
    rows = zip(r.t, r.x, r.y, r.p, strict=True)
    return "".join(f"{t / 1e6:.9f} {x} {y} {p:d}\n" for t, x, y, p in rows).encode()


def spoken(path: Path, times: list[list[float]], units: list[list[int]], labels: list, group: str = "spikes") -> None:
    """SHD's HDF5: 16-bit seconds and channels, a row of any length a recording."""
    import h5py

    with h5py.File(path, "w") as file:
        for name, rows, dtype in (("times", times, np.float16), ("units", units, np.uint16)):
            data = file.create_dataset(f"{group}/{name}", (len(rows),), h5py.vlen_dtype(dtype))
            for row, values in enumerate(rows):
                data[row] = np.array(values, dtype)
        file["labels"] = labels


def gestures(folder: Path, name: str, seed: int, classes: tuple[int, ...], each: int = 20) -> list[Recording]:
    """`name`.aedat and its table: a gesture of each class, 0.9 ms long, one a millisecond."""
    events = draw(seed, (128, 128), 1000 * len(classes), each * len(classes))
    (folder / f"{name}.aedat").write_bytes(aedat3(events))
    rows = [f"{label},{1000 * i},{1000 * i + 900}" for i, label in enumerate(classes)]
    (folder / f"{name}_labels.csv").write_text("\n".join(["class,startTime_usec,endTime_usec", *rows]) + "\n")
    return [events.between(1000 * i, 1000 * i + 900) for i in range(len(classes))]
