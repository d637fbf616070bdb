"""The digits task: shapes, ranges, a split that is a partition, training order."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeseq.tasks.digits import Digits, stratified


def test_batches_are_sequences_of_pixels_in_0_to_1():
    data = Digits(batch_size=7)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (7, 64, 1)
    assert x.dtype == torch.float32
    assert y.shape == (7,)
    assert y.dtype == torch.int64
    everything = torch.cat([x for x, _ in data.test_dataloader()])
    assert everything.min() == 0
    assert everything.max() == 1


def test_pixels_come_row_by_row():
    from sklearn.datasets import load_digits

    data = Digits()
    data.setup()
    assert data.splits is not None
    x, y = data.splits.test[0]
    bundled = load_digits()
    images, labels = bundled["images"], bundled["target"]  # type: ignore[call-overload, index] (a dict-like Bunch)
    assert any((images[i] == 16 * x.reshape(8, 8).numpy()).all() and labels[i] == y for i in range(len(images)))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 4), min_size=40, max_size=200),
    st.integers(0, 2**31),
    st.sampled_from([(0.6, 0.2, 0.2), (0.5, 0.5), (0.9, 0.1)]),
)
def test_stratified_is_a_partition_with_even_shares(labels, seed, shares):
    labels = torch.tensor(labels)
    parts = stratified(labels, shares, seed)
    assert torch.cat(parts).sort().values.equal(torch.arange(len(labels)))
    for part, share in zip(parts, shares, strict=True):
        for label in labels.unique():
            assert abs((labels[part] == label).sum() - share * (labels == label).sum()) <= 1
    assert all(a.equal(b) for a, b in zip(parts, stratified(labels, shares, seed), strict=True))


def test_training_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        loader = Digits(batch_size=64, seed=seed).train_dataloader()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined] (Lightning calls this)
        return torch.cat([y for _, y in loader])

    assert order(0, 0).equal(order(0, 0))
    assert not order(0, 0).equal(order(0, 1))
    assert not order(0, 0).equal(order(1, 0))


def test_loaders_leave_the_global_random_state_alone():
    data = Digits()
    before = torch.get_rng_state()
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        list(loader)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(("batch_size", "message"), [(0, "batch_size of at least 1"), (5000, "at least 5000 items")])
def test_bad_batch_sizes_are_refused(batch_size, message):
    with pytest.raises(ValueError, match=message):
        Digits(batch_size=batch_size).setup()


def test_without_scikit_learn_the_pip_line_is_given():
    code = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.datasets'] = None\n"
        "from spikeseq.tasks.digits import Digits\n"
        "try: Digits().setup()\n"
        "except ImportError as error: assert \"pip install 'spikeseq[train]'\" in str(error)\n"
        "else: raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
