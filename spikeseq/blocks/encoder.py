"""The way in: continuous values or tokens to the width of the backbone, checked at the door."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import checks


class ValueEncoder(nn.Linear):
    """Continuous inputs: x floating [..., inputs] -> [..., width].

    Raises TypeError for another dtype, ValueError for another shape, an empty batch, NaN or infinity (on a CPU).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)

    def check(self, x: Tensor, *axes: str) -> None:
        """`axes` names the expected axes before the last, such as "batch", "time"."""
        _shape(x, (*axes, f"inputs = {self.in_features}"))
        if not x.is_floating_point():
            raise TypeError(f"input: expected floating values, got {checks.shape_of(x)}; convert with x.float()")
        if x.shape[-1] != self.in_features:
            raise ValueError(f"input: expected {self.in_features} values a step, got {checks.shape_of(x)}")
        checks.finite("input", "values", x, axes="[" + ", ".join((*axes, "inputs")) + "]")

    def forward(self, input: Tensor) -> Tensor:
        # the residual stream keeps the parameters' dtype under autocast too
        return super().forward(input).to(self.weight.dtype)


class TokenEncoder(nn.Embedding):
    """Tokens: x integer [...] with values 0..vocabulary-1 -> [..., width].

    Raises TypeError for another dtype, ValueError for another shape, an empty batch or a token out of range (on a CPU;
    on a GPU the device's own assertion stops the run).
    """

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__(vocabulary, width)

    def check(self, x: Tensor, *axes: str) -> None:
        """`axes` names the expected axes, such as "batch", "time"."""
        check_tokens(x, self.num_embeddings, *axes)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.long())


Encoder = ValueEncoder | TokenEncoder


def make_encoder(inputs: int | None, vocabulary: int | None, width: int) -> Encoder:
    """The encoder for `inputs` values a step, or for tokens of a `vocabulary`: exactly one of them is given."""
    if (inputs is None) == (vocabulary is None):
        raise ValueError(
            "expected exactly one of inputs (continuous values a step) and vocabulary (number of tokens), "
            f"got inputs={inputs}, vocabulary={vocabulary}"
        )
    size = inputs if inputs is not None else vocabulary
    if size is None or size < 1 or width < 1:
        raise ValueError(f"expected inputs or vocabulary, and width, of at least 1, got {size} and {width}")
    return ValueEncoder(size, width) if inputs is not None else TokenEncoder(size, width)


def _shape(x: Tensor, axes: tuple[str, ...]) -> None:
    expected = f"[{', '.join(axes)}]"
    if not isinstance(x, Tensor):
        raise TypeError(f"input: expected a tensor {expected}, got {type(x).__name__}")
    if x.ndim != len(axes) or 0 in x.shape:
        raise ValueError(f"input: expected {expected}, each at least 1, got {checks.shape_of(x)}")


def check_tokens(x: Tensor, vocabulary: int, *axes: str) -> None:
    """That `x` holds tokens 0..vocabulary-1; `axes` names its axes. Errors as in `TokenEncoder`."""
    _shape(x, axes)
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise TypeError(f"input: expected integer tokens, got {checks.shape_of(x)}; convert with x.long()")
    # a traced graph has no values yet, and a look at a GPU's would stall its queue: there the embedding itself refuses
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return
    low, high = (int(value) for value in torch.aminmax(x))
    if low < 0 or high >= vocabulary:
        at = ((x < 0) | (x >= vocabulary)).nonzero()[0].tolist()
        raise ValueError(
            f"input: expected tokens 0..{vocabulary - 1} (vocabulary = {vocabulary}), "
            f"got {int(x[tuple(at)])} at [{', '.join(axes)}] = {at}"
        )
