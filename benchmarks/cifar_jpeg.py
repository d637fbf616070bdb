"""`python -m benchmarks.cifar_jpeg ARCHIVE FOLDER`: CIFAR-10 from JPEG files by class to the canonical binary batches.

ARCHIVE is a tar file of train|test/<class>/<name>.jpg. JPEG has lost a little of the pixels and such archives have lost
the order of the original batches: images are dealt to the five training batches in an order drawn from seed 0. Say so
beside any result.
"""

import argparse
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeseq.tasks.cifar import BINARY, PIXELS, RECORDS, SIDE

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def convert(archive: Path, folder: Path) -> None:
    records: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    with tarfile.open(archive) as files:
        for member in files:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 3 or parts[-3] not in records or parts[-2] not in CLASSES:
                continue
            file = files.extractfile(member)
            assert file is not None
            pixels = np.asarray(Image.open(file).convert("RGB"))
            if pixels.shape != (SIDE, SIDE, 3):
                raise ValueError(f"{archive}, {member.name}: expected {SIDE} x {SIDE} pixels, got {pixels.shape}")
            label = np.array([CLASSES.index(parts[-2])], np.uint8)
            records[parts[-3]].append(np.concatenate((label, pixels.transpose(2, 0, 1).ravel())))
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, names in (("train", BINARY[:5]), ("test", BINARY[5:])):
        if len(records[split]) != RECORDS * len(names):
            raise ValueError(f"{archive}: expected {RECORDS * len(names)} {split} images, found {len(records[split])}")
        whole = np.stack(records[split])[rng.permutation(RECORDS * len(names))]
        for name, batch in zip(names, whole.reshape(len(names), RECORDS, 1 + PIXELS), strict=True):
            batch.tofile(folder / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    convert(**vars(parser.parse_args()))
