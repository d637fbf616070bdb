"""IDX, the file format of MNIST: two zero bytes, a type byte, the number of axes, big-endian sizes, then the data."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

UNSIGNED_BYTE = 0x08


def read_idx(path: Path, axes: int) -> Tensor:
    """A gzipped IDX file of unsigned bytes as a uint8 tensor with `axes` axes.

    Raises ValueError, naming the file, for anything but gzip, a wrong magic number, other types, truncated files
    and trailing bytes. (gzip itself carries a checksum of the content, which is checked.)
    """
    try:
        with gzip.open(path, "rb") as file:
            raw = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected a whole gzip file: {error}") from error
    header = 4 + 4 * axes
    if len(raw) < header:
        raise ValueError(f"{path}: expected an IDX header of {header} bytes, got a file of {len(raw)} bytes")
    expected = bytes((0, 0, UNSIGNED_BYTE, axes))
    if raw[:4] != expected:
        raise ValueError(
            f"{path}: expected the magic number 0x{expected.hex()} (unsigned bytes, {axes} axes), got 0x{raw[:4].hex()}"
        )
    sizes = struct.unpack(f">{axes}I", raw[4:header])
    count = int(np.prod(sizes, dtype=np.int64))
    if len(raw) - header != count:
        raise ValueError(f"{path}: expected {count} data bytes for sizes {sizes}, got {len(raw) - header}")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(sizes).copy())
