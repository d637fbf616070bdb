"""Sequential MNIST from tiny IDX files written here; every bad input is an error that names the file."""

import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.tasks.idx import read_idx
from spikeseq.tasks.mnist import FILES, SequentialMNIST, permutation
from tests.tasks.from_config import logits

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


def idx(array, magic=None, sizes=None):
    """The bytes of an IDX file."""
    sizes = array.shape if sizes is None else sizes
    magic = bytes((0, 0, 8, len(sizes))) if magic is None else magic
    return magic + struct.pack(f">{len(sizes)}I", *sizes) + array.astype(np.uint8).tobytes()


def write(path, raw):
    path.write_bytes(gzip.compress(raw))


@pytest.fixture
def folder(tmp_path):
    """40 training and 12 test images; image i starts with the bytes i, label i % 10."""
    random = np.random.default_rng(0)
    for images, labels, count in ((TRAIN_IMAGES, TRAIN_LABELS, 40), (TEST_IMAGES, TEST_LABELS, 12)):
        pixels = random.integers(0, 256, (count, 28, 28))
        pixels[:, 0, 0] = np.arange(count)
        write(tmp_path / images, idx(pixels))
        write(tmp_path / labels, idx(np.arange(count) % 10))
    return tmp_path


def load(folder, **options):
    data = SequentialMNIST(folder, validation=10, batch_size=4, **options)
    data.setup()
    assert data.splits is not None
    return data.splits


def test_shapes_ranges_and_labels(folder):
    data = SequentialMNIST(folder, validation=10, batch_size=4)
    x, y = next(iter(data.test_dataloader()))
    assert x.shape == (4, 784, 1)
    assert x.dtype == torch.float32
    assert 0.99 < x.max() <= 1
    assert x.min() >= 0
    assert (255 * x[:, 0, 0]).round().tolist() == y.tolist() == [0, 1, 2, 3]


def test_splits_are_disjoint_and_whole(folder):
    splits = load(folder)
    first = [int(v) for part in (splits.train, splits.val) for v in part.values[:, 0, 0]]
    assert (len(splits.train), len(splits.val), len(splits.test)) == (30, 10, 12)
    assert sorted(first) == list(range(40))
    assert load(folder, seed=5).val.values.equal(splits.val.values)


def test_permuted_images_are_the_same_pixels_in_one_fixed_order(folder):
    plain, permuted = load(folder), load(folder, permuted=True)
    order = permutation(92916)
    assert order.sort().values.equal(torch.arange(784))
    for split in ("train", "val", "test"):
        assert getattr(permuted, split).values.equal(getattr(plain, split).values[:, order])
        assert getattr(permuted, split).labels.equal(getattr(plain, split).labels)
    assert not load(folder, permuted=True, permutation_seed=1).test.values.equal(permuted.test.values)


def test_missing_files_are_listed_with_layout_and_source(folder):
    (folder / TRAIN_LABELS).unlink()
    (folder / TEST_IMAGES).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load(folder)
    message = str(caught.value)
    assert str(folder / TRAIN_LABELS) in message
    assert str(folder / TEST_IMAGES) in message
    assert str(folder / TRAIN_IMAGES) not in message
    assert "gzipped IDX" in message
    assert "http" in message


IMAGES = np.zeros((40, 28, 28))
LABELS = np.zeros(40)
BAD = {
    "wrong magic": (TRAIN_IMAGES, idx(IMAGES, magic=b"\0\0\x0d\x03"), "magic number 0x00000803.*got 0x00000d03"),
    "labels for images": (TRAIN_IMAGES, idx(LABELS), "magic number"),
    "truncated data": (TRAIN_IMAGES, idx(IMAGES)[:-1], "expected 31360 data bytes .* got 31359"),
    "trailing bytes": (TRAIN_IMAGES, idx(IMAGES) + b"\0", "expected 31360 data bytes .* got 31361"),
    "truncated header": (TRAIN_IMAGES, b"\0\0\x08\x03\0\0", "IDX header of 16 bytes"),
    "empty": (TRAIN_LABELS, b"", "IDX header of 8 bytes"),
    "another image size": (TRAIN_IMAGES, idx(np.zeros((40, 32, 32))), r"28x28 pixels, got \[32, 32\]"),
    "fewer labels than images": (TRAIN_LABELS, idx(LABELS[:39]), "one label for each of the 40 images .* got 39"),
    "label out of range": (TEST_LABELS, idx(np.full(12, 10)), r"labels in 0\.\.9, got 10"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_content_names_the_file(folder, name):
    file, raw, message = BAD[name]
    write(folder / file, raw)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert file in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "flipped bit"])
def test_bad_gzip_names_the_file(folder, damage):
    path = folder / TRAIN_IMAGES
    raw = bytearray(path.read_bytes())
    if damage == "truncated":
        raw = raw[: len(raw) // 2]
    elif damage == "not gzip":
        raw = bytearray(idx(IMAGES))
    else:
        raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(ValueError, match=f"{path.name}: expected a whole gzip file"):
        load(folder)


@pytest.mark.parametrize("validation", [0, 40, -1])
def test_validation_must_leave_both_parts(folder, validation):
    with pytest.raises(ValueError, match=r"validation in 1\.\.39"):
        SequentialMNIST(folder, validation=validation, batch_size=4).setup()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.integers(0, 255))
def test_idx_reads_what_was_written(tmp_path_factory, sizes, fill):
    path = tmp_path_factory.mktemp("idx") / "file.gz"
    array = (np.arange(np.prod(sizes, dtype=int)) * 7 + fill).reshape(sizes) % 256
    write(path, idx(array))
    assert read_idx(path, axes=len(sizes)).tolist() == array.tolist()


def test_the_model_of_the_fashion_config_takes_these_images(folder):
    more = ["--data.init_args.validation", "10", "--data.init_args.batch_size", "4"]
    assert logits("images/fashion_mnist.yaml", folder, *more).shape == (2, 10)
