"""Data sets that fit in memory: bytes in one tensor, cut into float batches a whole batch at a time.

A DataLoader that collects single items spends longer on Python than a small network spends on the batch. Here one
index operation makes the batch, no worker processes are needed, and Lightning can still put its samplers in.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Batch = tuple[Tensor, ...]
Kind = TypeVar("Kind", bound="ByteSequences")


@dataclass(frozen=True)
class ByteSequences(Dataset[Batch]):
    """Sequences of bytes with one label each.

    values: uint8 [items, time, channels], labels: int64 [items], scale: a batch is `values / scale` in float32.
    An index list gives the batch (x [batch, time, channels], y [batch]) at once. Subclasses hold other `axes`.
    """

    axes: ClassVar[str] = "items, time, channels"
    dtype: ClassVar[torch.dtype] = torch.uint8
    values: Tensor
    labels: Tensor
    scale: float

    def __post_init__(self) -> None:
        if self.values.dtype != self.dtype or self.values.ndim != len(self.axes.split(",")):
            found = f"{self.values.dtype} {list(self.values.shape)}"
            raise ValueError(f"expected values as {self.dtype} [{self.axes}], got {found}")
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

    def subset(self: Kind, indices: Tensor) -> Kind:
        return replace(self, values=self.values[indices], labels=self.labels[indices])


@dataclass(frozen=True)
class TokenRows(Dataset[Batch]):
    """Sequences of tokens of one length with one label each.

    tokens: uint8 [items, time], labels: int64 [items]. An index list gives the batch (x int64 [batch, time],
    y [batch]) at once.
    """

    tokens: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        return self.tokens[index].long(), self.labels[index]

    def __getitems__(self, indices: list[int]) -> Batch:
        """The batch of these items; torch's DataLoader looks for this method."""
        return self.tokens[indices].long(), self.labels[indices]

    def subset(self, indices: Tensor) -> "TokenRows":
        return TokenRows(self.tokens[indices], self.labels[indices])


@dataclass(frozen=True)
class TokenSequences(Dataset[Batch]):
    """Sequences of tokens of any length, or pairs of them, with one label each.

    tokens: uint8, all sequences one after another; offsets: int64 [sequences + 1], where each begins, and the end;
    labels: int64 [items]; together: sequences an item, 1 or 2. An index list gives the batch at once, padded at the
    end with token 0: (x int64 [batch, longest], lengths int64 [batch], y [batch]), or for pairs (x [batch, 2, longest],
    lengths [batch, 2], y).
    """

    tokens: Tensor
    offsets: Tensor
    labels: Tensor
    together: int = 1

    def __post_init__(self) -> None:
        if self.tokens.dtype != torch.uint8 or self.tokens.ndim != 1:
            raise ValueError(f"expected tokens as torch.uint8 [n], got {self.tokens.dtype} {list(self.tokens.shape)}")
        expected = self.together * len(self.labels) + 1
        if len(self.offsets) != expected or int(self.offsets[-1]) > len(self.tokens):
            raise ValueError(
                f"expected {expected} offsets up to {len(self.tokens)}, got {len(self.offsets)} "
                f"up to {int(self.offsets[-1])}"
            )
        if bool((self.offsets.diff() < 1).any()):
            raise ValueError("expected sequences of at least one token, got an empty one")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        x, lengths, y = self.__getitems__([index])
        return x[0], lengths[0], y[0]

    def __getitems__(self, indices: list[int]) -> Batch:
        """The batch of these items; torch's DataLoader looks for this method."""
        rows = torch.as_tensor(indices)
        if self.together > 1:
            rows = self.together * rows[:, None] + torch.arange(self.together)
        begin = self.offsets[rows]
        lengths = self.offsets[rows + 1] - begin
        step = torch.arange(int(lengths.max()))
        inside = step < lengths[..., None]
        x = torch.where(inside, self.tokens[torch.where(inside, begin[..., None] + step, 0)].long(), 0)
        return x, lengths, self.labels[indices]

    def part(self, first: int, last: int) -> "TokenSequences":
        """Items first..last-1, on the same tokens."""
        offsets = self.offsets[self.together * first : self.together * last + 1]
        return TokenSequences(self.tokens, offsets, self.labels[first:last], self.together)

    def subset(self, indices: Tensor) -> "TokenSequences":
        """Single sequences (not pairs) by their indices, on tokens of their own."""
        pieces = [self.tokens[self.offsets[i] : self.offsets[i + 1]] for i in indices]
        return packed(pieces, self.labels[indices])


def packed(sequences: Iterable[Tensor], labels: Tensor, together: int = 1) -> TokenSequences:
    """uint8 sequences, each [time], one after another."""
    sequences = list(sequences)
    offsets = torch.tensor([0, *(len(sequence) for sequence in sequences)]).cumsum(0)
    return TokenSequences(torch.cat(sequences), offsets, labels, together)


Sequences = TypeVar("Sequences", ByteSequences, TokenRows, TokenSequences)


@dataclass(frozen=True)
class Splits(Generic[Sequences]):
    train: Sequences
    val: Sequences
    test: Sequences


def _as_is(batch: Any) -> Any:
    """`__getitems__` has made the batch already."""
    return batch


class TrainingLoader(DataLoader[Any]):
    """Full batches in an order that comes from (seed, epoch) alone, by torch's DistributedSampler, also on one device:
    what n processes with a batch of b see is what one with n * b sees. Checkpoints hold how many batches of an epoch
    were given, and a loader that has read one goes on after them.
    """

    def __init__(self, data: Dataset[Batch], batch_size: int, seed: int, replicas: int, rank: int) -> None:
        self.order = DistributedSampler(data, num_replicas=replicas, rank=rank, seed=seed, drop_last=True)
        # without its own generator, iterating would draw from the global random state, which dropout lives on
        generator = torch.Generator().manual_seed(seed)
        options: dict[str, Any] = {"sampler": self.order, "generator": generator, "collate_fn": _as_is}
        super().__init__(data, batch_size, drop_last=True, **options)
        self.given = 0
        self._read: dict[str, int] = {}

    def __iter__(self) -> Iterator[Any]:
        seen, self._read = self._read, {}
        skipped = seen["given"] if seen and seen["epoch"] == self.order.epoch else 0
        self.given = 0
        for batch in super().__iter__():
            self.given += 1
            if self.given > skipped:
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.order.epoch, "given": self.given}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._read = state_dict


class MemoryData(LightningDataModule, Generic[Sequences]):
    """A data module over `Splits` held in memory; a task gives `read()`.

    Training order is a function of (seed, epoch) alone, and checkpoints hold how far into an epoch they were taken, so
    a resumed run sees what the uninterrupted run would have seen. The last, incomplete training batch is dropped: batch
    norms want full batches. Prediction runs over the test split.
    """

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"{type(self).__name__}: expected batch_size of at least 1, got {batch_size}")
        self.batch_size = batch_size
        self.seed = seed
        self.splits: Splits[Sequences] | None = None
        self._training: TrainingLoader | None = None
        self._read: dict[str, int] = {}

    @abstractmethod
    def read(self) -> Splits[Sequences]:
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
        replicas, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        self._training = TrainingLoader(self._split("train"), self.batch_size, self.seed, replicas, rank)
        self._training.load_state_dict(self._read)
        return self._training

    # Lightning gives a loader its state only if it has not asked for its length before, as the schedule makes it do.
    # A data module gets its own in time.
    def state_dict(self) -> dict[str, int]:
        return self._training.state_dict() if self._training else {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._read = state_dict

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.test_dataloader()

    def _split(self, name: str) -> Sequences:
        self.setup()
        return getattr(self.splits, name)

    def _whole(self, name: str) -> DataLoader[Batch]:
        generator = torch.Generator().manual_seed(self.seed)  # see TrainingLoader
        # by keyword: for prediction Lightning builds the loader again, with a batch_size of its own
        return DataLoader(self._split(name), batch_size=self.batch_size, collate_fn=_as_is, generator=generator)
