"""Laws of masks and reversal, and the checks of lengths."""

import pytest
import torch
from block_laws import LAWS, seeds, shapes
from hypothesis import given

from spikeseq.blocks.padding import as_padding, reverse_starts, reverse_time


@LAWS
@given(shapes, seeds)
def test_reversal_turns_the_valid_part_of_each_row(shape: tuple[int, int], seed: int) -> None:
    torch.manual_seed(seed)
    batch, time = shape
    lengths = torch.randint(1, time + 1, (batch,))
    padding = as_padding(lengths, batch, time)
    x = torch.randn(batch, time, 2)
    reversed_x = reverse_time(x, padding)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(reversed_x[row, :length], x[row, :length].flip(0))
        torch.testing.assert_close(reversed_x[row, length:], x[row, length:])
    torch.testing.assert_close(reverse_time(reversed_x, padding), x)
    full = as_padding(torch.full((batch,), time), batch, time)
    torch.testing.assert_close(reverse_time(x, None), reverse_time(x, full))


def test_starts_seen_from_the_end_mark_the_last_step_of_each_episode() -> None:
    starts = torch.tensor([[True, False, True, False, False]])  # episodes of steps 0-1 and 2-4
    assert reverse_starts(starts, None).tolist() == [[False, False, False, True, False]]


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (torch.tensor([1.0, 2.0]), TypeError, "expected an integer tensor .*float32"),
        ([1, 2], TypeError, "expected an integer tensor .*list"),
        (torch.tensor([1, 2, 3]), ValueError, r"expected shape \[2\].*got \[3\]"),
        (torch.tensor([3, 0]), ValueError, "expected 1..4 .*got 0 in row 1"),
        (torch.tensor([5, 1]), ValueError, "expected 1..4 .*got 5 in row 0"),
    ],
)
def test_bad_lengths_are_named(lengths: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_padding(lengths, 2, 4)


def test_padding_of_another_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch 2 and time 5.*batch 2 and time 4"):
        as_padding(as_padding(torch.tensor([1, 2]), 2, 4), 2, 5)
