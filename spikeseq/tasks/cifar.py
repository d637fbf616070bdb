"""CIFAR-10 as sequences, grey pixels (Image of the Long Range Arena), coloured pixels or columns, or as images."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .files import cache_folder, require
from .maps import Maps
from .memory import ByteSequences, MemoryData, Splits

BINARY = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
PYTHON = {  # and their MD5 sums
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
LAYOUT = "the six batches as released, binary (as listed) or for Python (the same names without .bin), in data_dir"
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html (cifar-10-binary.tar.gz or cifar-10-python.tar.gz, unpacked)"
CLASSES = 10
RECORDS = 10_000  # of a batch
SIDE = 32
PIXELS = 3 * SIDE * SIDE
GREY = (0.299, 0.587, 0.114)


def _grey(images: Tensor) -> Tensor:
    light = images.float().mul_(torch.tensor(GREY)[:, None, None]).sum(1)
    return light.round_().to(torch.uint8).flatten(1).unsqueeze(-1)


READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": _grey,
    "pixels": lambda images: images.flatten(2).transpose(1, 2),
    "columns": lambda images: images.permute(0, 3, 1, 2).flatten(2),
    "image": lambda images: images,
}


class CIFAR10(MemoryData[ByteSequences]):
    """CIFAR-10 as sequences x [batch, time, channels] or images [batch, 3, 32, 32], in 0..1, y [batch] in 0..9.

    reading: "grey", pixel by pixel, [batch, 1024, 1], .299 red + .587 green + .114 blue rounded, which is Image of the
    Long Range Arena; "pixels", pixel by pixel, [batch, 1024, 3]; "columns", column by column, [batch, 32, 96], all rows
    of red, then green, then blue; "image", [batch, 3, 32, 32], for a `SpikingCNN` with `steps`. data_dir: the folder
    with the six batches, binary or for Python. validation: how many training images are held out, the same for every
    `seed`; `seed` orders the training batches. rolled, flipped: images of training batches are moved by up to so many
    pixels (what leaves enters on the other side), and half of them are mirrored left to right.

    Raises FileNotFoundError that lists missing files, and ValueError, naming the file, for a wrong size, checksum
    (Python's batches; they are pickles, so no others are opened) or label.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
    """

    classes = CLASSES

    def __init__(
        self,
        data_dir: str | Path | None = None,
        reading: str = "grey",
        validation: int = 5000,
        batch_size: int = 50,
        seed: int = 0,
        rolled: int = 0,
        flipped: bool = False,
    ) -> None:
        super().__init__(batch_size, seed)
        if reading not in READINGS:
            raise ValueError(f"CIFAR10: expected reading as one of {', '.join(READINGS)}, got {reading!r}")
        self.data_dir = cache_folder("cifar10") if data_dir is None else Path(data_dir).expanduser()
        self.reading, self.validation = reading, validation
        if rolled < 0 or (reading != "image" and (rolled or flipped)):
            raise ValueError(f"CIFAR10: expected rolled >= 0, and rolled or flipped of images alone, got {reading!r}")
        self.rolled, self.flipped = rolled, flipped

    def read(self) -> Splits[ByteSequences]:
        *train, test = read_batches(self.data_dir)
        images, labels = (torch.cat(parts) for parts in zip(*train, strict=True))
        if not 0 < self.validation < len(labels):
            raise ValueError(f"CIFAR10: expected validation in 1..{len(labels) - 1} images, got {self.validation}")
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        val, rest = order[: self.validation].sort().values, order[self.validation :].sort().values
        parts = ((images[rest], labels[rest]), (images[val], labels[val]), test)
        train, *others = (self._sequences(*part) for part in parts)
        return Splits(train.varied(self.rolled, self.flipped) if isinstance(train, Maps) else train, *others)

    def _sequences(self, images: Tensor, labels: Tensor) -> ByteSequences:
        kind = Maps if self.reading == "image" else ByteSequences
        return kind(READINGS[self.reading](images).contiguous(), labels, scale=255)


def read_batches(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """The five training batches and the test batch: images uint8 [RECORDS, 3, 32, 32] and labels int64 [RECORDS]."""
    if not (folder / BINARY[0]).is_file() and any((folder / name).is_file() for name in PYTHON):
        paths, read = require(folder, tuple(PYTHON), LAYOUT, SOURCE), _read_python
    else:
        paths, read = require(folder, BINARY, LAYOUT, SOURCE), _read_binary
    return [_checked(path, *read(path)) for path in paths]


def _read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Records of a label byte and 3,072 pixel bytes: red, green, blue, each row by row."""
    size = path.stat().st_size
    if size != RECORDS * (1 + PIXELS):
        raise ValueError(f"{path}: expected {RECORDS * (1 + PIXELS)} bytes ({RECORDS} records), got {size}")
    records = np.fromfile(path, np.uint8).reshape(RECORDS, 1 + PIXELS)
    return records[:, 1:], records[:, 0]


def _read_python(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    raw = path.read_bytes()
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != PYTHON[path.name]:
        raise ValueError(f"{path}: expected the released file with the MD5 sum {PYTHON[path.name]}, got {found}")
    batch = ArraysOnly(raw, path).load()
    return batch[b"data"], np.array(batch[b"labels"])


class ArraysOnly(pickle.Unpickler):
    """Opens a pickle of bytes, numbers, lists, dicts and NumPy arrays; refuses all else."""

    def __init__(self, raw: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(raw), encoding="bytes")
        self.path = path

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        match (module_name, global_name):
            case ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct"):  # NumPy has renamed its module
                return np.empty(0).__reduce__()[0]
            case ("numpy", "ndarray" | "dtype"):
                return getattr(np, global_name)
        raise ValueError(f"{self.path}: expected arrays alone, got {module_name}.{global_name}")


def _checked(path: Path, images: NDArray[np.uint8], labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
    if images.shape != (RECORDS, PIXELS) or images.dtype != np.uint8 or labels.shape != (RECORDS,):
        raise ValueError(
            f"{path}: expected bytes [{RECORDS}, {PIXELS}] and {RECORDS} labels, got {images.dtype} "
            f"{list(images.shape)} and labels {list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise ValueError(f"{path}: expected labels in 0..{CLASSES - 1}, got {labels.min()}..{labels.max()}")
    return torch.from_numpy(images.reshape(-1, 3, SIDE, SIDE)), torch.from_numpy(labels.astype(np.int64))
