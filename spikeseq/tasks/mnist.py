"""Sequential MNIST and permuted sequential MNIST."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import cache_folder, require
from .idx import read_idx
from .memory import ByteSequences, MemoryData, Splits

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
LAYOUT = "the four gzipped IDX files as published, not unpacked, directly in data_dir"
SOURCE = (
    "http://yann.lecun.com/exdb/mnist/ (mirror: https://ossci-datasets.s3.amazonaws.com/mnist/); Fashion-MNIST: "
    "https://github.com/zalandoresearch/fashion-mnist, or Debian's package dataset-fashion-mnist"
)
SIDE = 28
CLASSES = 10


class SequentialMNIST(MemoryData[ByteSequences]):
    """MNIST as sequences x [batch, time = 784, 1] in 0..1, row by row; y [batch] in 0..9.

    A `SpikingCNN` of size (1, 28, 28) with `steps` takes them as still images, each shown so many times.

    data_dir: the folder with the four files (Fashion-MNIST's have the same names and form); by default the
    platform's cache folder. permuted: psMNIST, every image's pixels in one fixed random order, which is
    `numpy.random.RandomState(permutation_seed).permutation(784)`; 92916 is the seed many papers share.
    validation: how many training images are held out, the same for every `seed`; `seed` gives the order of training
    batches. The test files give the test split.

    Raises FileNotFoundError that lists missing files, their layout and source; ValueError for files that are not
    what they should be.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits"; as sequences: Le, Jaitly and
    Hinton, arXiv 1504.00941.
    """

    classes = CLASSES
    steps = SIDE * SIDE

    def __init__(
        self,
        data_dir: str | Path | None = None,
        permuted: bool = False,
        permutation_seed: int = 92916,
        validation: int = 5000,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.data_dir = cache_folder("mnist") if data_dir is None else Path(data_dir).expanduser()
        self.permuted = permuted
        self.permutation_seed = permutation_seed
        self.validation = validation

    def read(self) -> Splits[ByteSequences]:
        images, labels, test_images, test_labels = require(self.data_dir, FILES, LAYOUT, SOURCE)
        rest, test = read_pair(images, labels), read_pair(test_images, test_labels)
        if not 0 < self.validation < len(rest):
            raise ValueError(f"expected validation in 1..{len(rest) - 1} training images, got {self.validation}")
        if self.permuted:
            order = permutation(self.permutation_seed)
            rest, test = (ByteSequences(d.values[:, order], d.labels, d.scale) for d in (rest, test))
        held_out = torch.randperm(len(rest), generator=torch.Generator().manual_seed(0))
        train, val = held_out[self.validation :].sort().values, held_out[: self.validation].sort().values
        return Splits(rest.subset(train), rest.subset(val), test)


def permutation(seed: int) -> Tensor:
    """psMNIST's pixel order, int64 [784]: `x_permuted[t] = x[order[t]]`. The same on every machine."""
    # RandomState's stream is frozen by NumPy's policy; torch.randperm's is not.
    order = np.random.RandomState(seed).permutation(SIDE * SIDE)
    return torch.from_numpy(order.astype(np.int64))


def read_pair(images_path: Path, labels_path: Path) -> ByteSequences:
    """An images file and its labels file, checked against each other."""
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise ValueError(f"{images_path}: expected images of {SIDE}x{SIDE} pixels, got {list(images.shape[1:])}")
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: expected one label for each of the {len(images)} images of {images_path.name}, "
            f"got {len(labels)}"
        )
    if len(labels) and int(labels.max()) >= CLASSES:
        raise ValueError(f"{labels_path}: expected labels in 0..{CLASSES - 1}, got {int(labels.max())}")
    return ByteSequences(images.flatten(1).unsqueeze(-1), labels.long(), scale=255)
