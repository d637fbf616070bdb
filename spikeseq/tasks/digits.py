"""scikit-learn's handwritten digits, read pixel by pixel: a task of seconds that needs no download."""

import torch
from torch import Tensor

from .memory import ByteSequences, MemoryData, Splits

HIGHEST = 16  # the set's grey values are 0..16


class Digits(MemoryData[ByteSequences]):
    """1,797 digits of 8x8 pixels as sequences x [batch, time = 64, 1] in 0..1, row by row; y [batch] in 0..9.

    The split is fixed (`split_seed`) and stratified by class: 20 % test, 20 % validation, the rest training.
    `seed` gives the order of training batches.

    Source: "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI, 1998), its test part, as bundled
    with scikit-learn (`load_digits`). Raises ImportError without scikit-learn.
    """

    classes = 10
    steps = 64

    def __init__(self, batch_size: int = 64, seed: int = 0, split_seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.split_seed = split_seed

    def read(self) -> Splits[ByteSequences]:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError as error:
            raise ImportError("Digits reads scikit-learn's bundled set: pip install 'spikeseq[train]'") from error
        images, labels = load_digits(return_X_y=True)
        data = ByteSequences(
            torch.from_numpy(images).to(torch.uint8).unsqueeze(-1), torch.from_numpy(labels).long(), HIGHEST
        )
        train, val, test = stratified(data.labels, (0.6, 0.2, 0.2), self.split_seed)
        return Splits(data.subset(train), data.subset(val), data.subset(test))


def stratified(labels: Tensor, shares: tuple[float, ...], seed: int) -> list[Tensor]:
    """Indices of disjoint parts that cover all items; each class is divided by `shares`. labels: int64 [items]."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in shares]
    bounds = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        members = members[torch.randperm(len(members), generator=generator)]
        cuts = (bounds[:-1] * len(members)).round().long()
        for part, piece in zip(parts, members.tensor_split(cuts), strict=True):
            part.append(piece)
    return [torch.cat(part).sort().values for part in parts]
