"""Data sets that fit in memory: bytes in one tensor, cut into float batches a whole batch at a time.

A DataLoader that collects single items spends longer on Python than a small network spends on the batch. Here one
index operation makes the batch, no worker processes are needed, and Lightning can still put its samplers in.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class ByteSequences(Dataset[Batch]):
    """Sequences of bytes with one label each.

    values: uint8 [items, time, channels], labels: int64 [items], scale: a batch is `values / scale` in float32.
    An index list gives the batch (x [batch, time, channels], y [batch]) at once.
    """

    values: Tensor
    labels: Tensor
    scale: float

    def __post_init__(self) -> None:
        if self.values.dtype != torch.uint8 or self.values.ndim != 3:
            found = f"{self.values.dtype} {list(self.values.shape)}"
            raise ValueError(f"expected values as torch.uint8 [items, time, channels], got {found}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.values.shape[:1]:
            found = f"{self.labels.dtype} {list(self.labels.shape)}"
            raise ValueError(f"expected labels as torch.int64 [items = {len(self.values)}], got {found}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.values[index].float() / self.scale, self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        """The batch of these items; torch's DataLoader looks for this method."""
        return self.values[indices].float() / self.scale, self.labels[indices]

    def subset(self, indices: Tensor) -> "ByteSequences":
        return ByteSequences(self.values[indices], self.labels[indices], self.scale)


@dataclass(frozen=True)
class Splits:
    train: ByteSequences
    val: ByteSequences
    test: ByteSequences


def _as_is(batch: Any) -> Any:
    """`__getitems__` has made the batch already."""
    return batch


class MemoryData(LightningDataModule):
    """A data module over `Splits` held in memory; a task gives `read()`.

    Training order is a function of (seed, epoch) alone, so a run resumed at an epoch's end sees what the
    uninterrupted run saw. The last, incomplete training batch is dropped: batch norms want full batches. Prediction
    runs over the test split.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"{type(self).__name__}: expected batch_size of at least 1, got {batch_size}")
        self.batch_size = batch_size
        self.seed = seed
        self.splits: Splits | None = None

    @abstractmethod
    def read(self) -> Splits:
        """Read and check the data."""

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 (every stage needs the same files)
        if self.splits is not None:
            return
        splits = self.read()
        for name in ("train", "val", "test"):
            items = len(getattr(splits, name))
            if items == 0 or (name == "train" and items < self.batch_size):
                least = self.batch_size if name == "train" else 1
                raise ValueError(
                    f"{type(self).__name__}: expected at least {least} items in the {name} split "
                    f"(batch_size={self.batch_size}), got {items}"
                )
        self.splits = splits

    def train_dataloader(self) -> DataLoader[Batch]:
        # Torch's DistributedSampler, also on one device: its order comes from (seed, epoch), not from the global
        # random state, and Lightning tells it the epoch.
        data = self._split("train")
        sampler = DistributedSampler(
            data,
            num_replicas=self.trainer.world_size if self.trainer else 1,
            rank=self.trainer.global_rank if self.trainer else 0,
            seed=self.seed,
        )
        return self._loader(data, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self._split("val"))

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self._split("test"))

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    def _split(self, name: str) -> ByteSequences:
        self.setup()
        return getattr(self.splits, name)

    def _loader(
        self, data: ByteSequences, sampler: DistributedSampler[Batch] | None = None, drop_last: bool = False
    ) -> DataLoader[Batch]:
        # A generator of its own: iterating must not draw from the global random state, which dropout lives on.
        generator = torch.Generator().manual_seed(self.seed)
        return DataLoader(
            data,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=_as_is,
            generator=generator,
        )
