"""AEDAT, the format of iniVation's sensors, in its three versions: CIFAR10-DVS (2), DVS128 Gesture (3.1), DV (4)."""

from __future__ import annotations

import struct
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .recording import Recording, recording

DVS128 = 128
PACKET_HEADER = struct.Struct("<hhiiiiii")  # type, source, size, time offset, overflow, capacity, number, valid
POLARITY_PACKET = 1
AEDAT4_EVENT = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")]


def read_aedat2(path: str | Path) -> Recording:
    """AEDAT 2 of a DVS128, as CIFAR10-DVS has it: big-endian address and microseconds, 4 bytes each.

    Address bits: 0 OFF rather than ON, 1-7 the column from the right, 8-14 the row from the bottom; events with a
    higher bit (special ones) are left out. ValueError, naming the file, for another version or sensor, a truncated
    file, events out of order. Source: the DVS128 of jAER; Li et al., "CIFAR10-DVS", 2017.
    """
    path = Path(path)
    header, body = _parts(path, b"#!AER-DAT2.0")
    if b"AEChip:" in header and b"DVS128" not in header:
        raise ValueError(f"{path}: expected a recording of a DVS128, got {header[header.index(b'AEChip:') :][:60]!r}")
    if len(body) % 8:
        raise ValueError(f"{path}: expected whole events of 8 bytes after the header, got {len(body)} bytes")
    address, t = np.frombuffer(body, ">u4").reshape(-1, 2).T.astype(np.int64)
    events = address < 1 << 15
    address, t = address[events], t[events]
    x, y = DVS128 - 1 - (address >> 1 & 0x7F), DVS128 - 1 - (address >> 8 & 0x7F)
    return recording(path, t, x, y, ~address & 1, (DVS128, DVS128))


def read_aedat3(path: str | Path, size: tuple[int, int] = (DVS128, DVS128)) -> Recording:
    """AEDAT 3.1, as DVS128 Gesture has it: packets of a 28-byte header and its events. size: (height, width).

    Polarity events alone are read, and those marked invalid left out. ValueError, naming the file, for another
    version, a truncated packet, events out of order or outside the sensor.
    Source: iniVation, "AEDAT 3.1 file format".
    """
    path = Path(path)
    _, body = _parts(path, b"#!AER-DAT3.1")
    packets: list[np.ndarray] = []
    begin = 0
    while begin < len(body):
        first = begin + PACKET_HEADER.size
        if first > len(body):
            raise ValueError(f"{path}: expected a packet header of {PACKET_HEADER.size} bytes, got {len(body) - begin}")
        kind, _, width, _, overflow, _, number, _ = PACKET_HEADER.unpack_from(body, begin)
        begin = first + width * number
        if width < 1 or number < 0 or begin > len(body):
            raise ValueError(
                f"{path}: expected a packet of {number} events of {width} bytes, got {len(body) - first} bytes"
            )
        if kind == POLARITY_PACKET:
            if width != 8:
                raise ValueError(f"{path}: expected polarity events of 8 bytes, got {width}")
            packet = np.frombuffer(body, "<u4", 2 * number, first).reshape(-1, 2).astype(np.int64)
            packet[:, 1] += overflow << 31
            packets.append(packet)
    data, t = np.concatenate([np.zeros((0, 2), np.int64), *packets]).T
    valid = (data & 1) == 1
    data, t = data[valid], t[valid]
    return recording(path, t, data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, data >> 1 & 1, size)


def read_aedat4(path: str | Path) -> Recording:
    """AEDAT 4 through the `aedat` library: all events of its one event stream, whose size the file states.

    ImportError without that library; ValueError, naming the file, for a file it cannot read to the end, one without
    exactly one event stream, events out of order or outside the sensor.
    """
    try:
        aedat: Any = import_module("aedat")
    except ModuleNotFoundError as error:
        raise ImportError("AEDAT 4 files need the aedat library: pip install 'spikeseq[events]'") from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected an AEDAT 4 file, found nothing at {path}")
    try:
        decoder = aedat.Decoder(str(path))
        streams = {key: s for key, s in decoder.id_to_stream().items() if s["type"] == "events"}
        if len(streams) != 1:
            raise ValueError(f"{path}: expected one event stream, got {len(streams)}")
        parts = [packet["events"] for packet in decoder if packet["stream_id"] in streams]
    except RuntimeError as error:
        raise ValueError(f"{path}: expected a whole AEDAT 4 file: {error}") from error
    (stream,) = streams.values()
    events = np.concatenate(parts or [np.zeros(0, AEDAT4_EVENT)])
    return recording(path, events["t"], events["x"], events["y"], events["on"], (stream["height"], stream["width"]))


def _parts(path: Path, magic: bytes) -> tuple[bytes, bytes]:
    """The header, which is lines that begin with #, and what follows it. ValueError for another version."""
    raw = path.read_bytes()
    if not raw.startswith(magic):
        raise ValueError(f"{path}: expected a file that begins with {magic.decode()}, got {raw[: len(magic)]!r}")
    begin = 0
    while raw[begin : begin + 1] == b"#":
        end = raw.find(b"\n", begin)
        if end < 0:
            raise ValueError(f"{path}: expected a header of whole lines, got a file that ends within one")
        line, begin = raw[begin:end].strip(), end + 1
        if line == b"#!END-HEADER":
            break
    return raw[:begin], raw[begin:]
