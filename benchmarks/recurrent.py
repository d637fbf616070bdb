"""The peers of spiking language models: GRU and LSTM with the interface of `TokenModel`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from spikeseq.blocks.token_model import IGNORED

CELLS = {"GRU": nn.GRU, "LSTM": nn.LSTM}


class RecurrentModel(nn.Module):
    """Embedding, `depth` layers of torch's GRU or LSTM, Linear. It cannot begin afresh within a chunk: no `starts`."""

    def __init__(self, vocabulary: int, width: int, depth: int, cell: str = "GRU") -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {cell!r}")
        self.vocabulary = vocabulary
        self.encoder = nn.Embedding(vocabulary, width)
        self.layers = CELLS[cell](width, width, depth, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x: Tensor, state: Any = None, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        if starts is not None:
            raise ValueError("RecurrentModel: expected one document, got starts within a chunk")
        y, state = self.layers(self.encoder(x), state)
        return self.head(y), state

    def nll(self, x: Tensor, y: Tensor, state: Any = None, starts: Tensor | None = None) -> tuple[Tensor, Any]:
        logits, state = self(x, state, starts)
        return F.cross_entropy(logits.transpose(1, 2), y, ignore_index=IGNORED, reduction="none"), state

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        logits, state = self(x_t[:, None], state)
        return logits[:, 0], state
