"""Frames and grids against their definitions; augmentation moves events and loses none."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeseq.events import Recording, event_frames, flip, roll, voxel_grid

LAWS = settings(deadline=None, max_examples=30)


def draw(seed: int, events: int) -> Recording:
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, 50, events))
    x, y = random.integers(0, 3, events), random.integers(0, 2, events)
    return Recording(t, x, y, random.random(events) < 0.5, (2, 3))


@LAWS
@given(st.integers(0, 2**16), st.integers(0, 30), st.integers(1, 5), st.sampled_from(["time", "count"]))
def test_every_event_is_counted_once_where_it_was(seed: int, events: int, steps: int, by: str) -> None:
    r = draw(seed, events)
    frames = event_frames(r, steps, by)
    expected = torch.zeros(steps, 2, 2, 3)
    for i in range(events):
        span = max(r.t[-1] - r.t[0], 1)
        step = min((r.t[i] - r.t[0]) * steps // span, steps - 1) if by == "time" else i * steps // events
        expected[int(step), int(r.p[i]), r.y[i], r.x[i]] += 1
    assert torch.equal(frames, expected)


@LAWS
@given(st.integers(0, 2**16), st.integers(0, 30), st.integers(1, 5))
def test_voxel_grid_is_its_formula(seed: int, events: int, bins: int) -> None:
    r = draw(seed, events)
    expected = torch.zeros(bins, 2, 3)
    for i in range(events):
        at = (bins - 1) * (r.t[i] - r.t[0]) / max(r.t[-1] - r.t[0], 1)
        for b in range(bins):
            expected[b, r.y[i], r.x[i]] += (1 if r.p[i] else -1) * max(0.0, 1 - abs(b - at))
    torch.testing.assert_close(voxel_grid(r, bins), expected)


@LAWS
@given(st.integers(0, 2**16), st.integers(0, 30), st.integers(1, 2), st.integers(1, 3))
def test_a_coarser_sensor_keeps_every_event(seed: int, events: int, height: int, width: int) -> None:
    r = draw(seed, events)
    coarse = r.scaled(height, width)
    assert coarse.size == (height, width)
    for i in range(events):
        assert (coarse.t[i], coarse.p[i]) == (r.t[i], r.p[i])
        assert (coarse.y[i], coarse.x[i]) == (r.y[i] * height // 2, r.x[i] * width // 3)


def test_bad_arguments_are_named() -> None:
    r = draw(0, 5)
    with pytest.raises(ValueError, match=r"expected a size of 1\.\.2 by 1\.\.3, got 2 by 4"):
        r.scaled(2, 4)
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        event_frames(r, 0)
    with pytest.raises(ValueError, match="bins: expected at least 1, got -1"):
        voxel_grid(r, -1)
    with pytest.raises(ValueError, match="by: expected one of time, count, got 'size'"):
        event_frames(r, 2, "size")
    with pytest.raises(ValueError, match="share: expected a probability, got 2"):
        flip(torch.zeros(1, 1, 1, 1, 1), 2)
    with pytest.raises(ValueError, match="most: expected at least 0 pixels, got -1"):
        roll(torch.zeros(1, 1, 1, 1, 1), -1)


@LAWS
@given(st.integers(0, 2**16), st.integers(1, 4), st.integers(0, 3))
def test_augmentation(seed: int, batch: int, most: int) -> None:
    torch.manual_seed(seed)
    frames = torch.randn(batch, 3, 2, 4, 5)
    for flipped, x in zip(flip(frames), frames, strict=True):
        assert torch.equal(flipped, x) or torch.equal(flipped, x.flip(-1))
    for rolled, x in zip(roll(frames, most), frames, strict=True):
        shifts = [(i, j) for i in range(-most, most + 1) for j in range(-most, most + 1)]
        assert any(torch.equal(rolled, x.roll(shift, (-2, -1))) for shift in shifts)
    assert torch.equal(flip(frames, 0.0), frames)
    assert torch.equal(flip(frames, 1.0), frames.flip(-1))
    assert torch.equal(roll(frames, 0), frames)
    channels = frames[:, :, 0, 0]  # [batch, time, channels], moved along the last axis alone
    for rolled, x in zip(roll(channels, most, (-1,)), channels, strict=True):
        assert any(torch.equal(rolled, x.roll(shift, -1)) for shift in range(-most, most + 1))
    images = frames[:, 0]
    for flipped, x in zip(flip(images), images, strict=True):
        assert torch.equal(flipped, x) or torch.equal(flipped, x.flip(-1))
