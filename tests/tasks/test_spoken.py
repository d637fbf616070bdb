"""SHD and SSC from small HDF5 files written here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spikeseq.events import Recording
from spikeseq.tasks.spoken import SHD, SSC, counts
from tests.events.formats import spoken
from tests.tasks.from_config import logits

pytest.importorskip("h5py")
FILES = {"shd_train": 20, "shd_test": 20, "ssc_train": 35, "ssc_valid": 35, "ssc_test": 35}


def rows(name: str) -> tuple[list[list[float]], list[list[int]], list[int]]:
    """Two recordings a class, of some spikes in 0..1 s."""
    random = np.random.default_rng(list(FILES).index(name))
    lengths = random.integers(1, 30, 2 * FILES[name])
    times = [random.random(n).astype(np.float16).tolist() for n in lengths]
    return times, [random.integers(0, 700, n).tolist() for n in lengths], list(range(FILES[name])) * 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in FILES:
        spoken(tmp_path / f"{name}.h5", *rows(name))
    return tmp_path


def load(data: Any):
    data.setup()
    return data.splits


def test_batches_are_the_spikes_of_the_files(folder: Path) -> None:
    data = SHD(folder, steps=10, duration=2.0, units=7, validation=0.5, batch_size=4)
    x, y = next(iter(data.test_dataloader()))
    assert (x.shape, x.dtype, y.tolist()) == ((4, 10, 7), torch.float32, [0, 1, 2, 3])
    times, units, _ = rows("shd_test")
    expected = torch.zeros(10, 7)
    for t, unit in zip(times[2], units[2], strict=True):
        expected[int(t * 5), unit // 100] += 1
    assert torch.equal(x[2], expected)


@given(st.integers(0, 2**16), st.integers(1, 5), st.sampled_from([1, 7, 700]), st.floats(0.1, 2))
def test_every_spike_within_the_duration_is_counted_once(seed: int, steps: int, units: int, duration: float) -> None:
    random = np.random.default_rng(seed)
    t, x = np.sort(random.integers(0, 10**6, 40)), random.integers(0, 700, 40)
    found = counts(Recording(t, x, t * 0, t >= 0, (1, 700)), steps, duration, units)
    expected = np.zeros((steps, units))
    for at, unit in zip(t, x, strict=True):
        step = int(np.floor(at * (steps / (1e6 * duration))))
        if step < steps:
            expected[step, unit * units // 700] += 1
    assert np.array_equal(found, expected)


def test_splits(folder: Path) -> None:
    shd = load(SHD(folder, validation=0.5, batch_size=4))
    assert [part.labels.bincount().tolist() for part in (shd.train, shd.val, shd.test)] == [
        [1] * 20,
        [1] * 20,
        [2] * 20,
    ]
    assert len({row.numpy().tobytes() for part in (shd.train, shd.val) for row in part.values}) == 40
    assert load(SHD(folder, validation=0.5, batch_size=4, seed=5)).val.values.equal(shd.val.values)
    ssc = load(SSC(folder, batch_size=4))
    for part, name in ((ssc.train, "train"), (ssc.val, "valid"), (ssc.test, "test")):
        times, _, labels = rows(f"ssc_{name}")
        assert part.labels.tolist() == labels
        assert part.values.sum((1, 2)).tolist() == [sum(t < 1 for t in row) for row in times]


def test_training_batches_alone_move_and_along_the_channels_alone(folder: Path) -> None:
    torch.manual_seed(0)
    ssc = load(SSC(folder, rolled=9, batch_size=4))
    for part, moves in ((ssc.train, True), (ssc.val, False), (ssc.test, False)):
        x, _ = part.__getitems__(list(range(6)))
        assert bool((x != part.values[:6]).any()) == moves
        assert torch.equal(x.sum(-1), part.values[:6].sum(-1).float())


def test_counts_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(SSC(folder, batch_size=4))
    with monkeypatch.context() as reading:
        reading.setattr("spikeseq.tasks.spoken.iter_spoken", None)
        assert load(SSC(folder, batch_size=4)).train.values.equal(first.train.values)
    assert load(SSC(folder, units=70, batch_size=4)).train.values.shape == (70, 100, 70)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [20]}, r"labels in 0\.\.19, got 20 at recording 0"),
        ({"labels": [-1]}, r"labels in 0\.\.19, got -1 at recording 0"),
        ({"units": [[700]]}, "got x = 700"),
        ({"units": [[1, 2]]}, "a unit for each time, got 2 and 1"),
        ({"times": [[]], "units": [[]]}, "expected spikes, got none at recording 0"),
        ({"times": [], "units": [], "labels": []}, "expected recordings, got none"),
        ({"labels": [1, 2]}, "as many times, units and labels, got 1, 1, 2"),
    ],
)
def test_bad_files_are_named(folder: Path, change: dict[str, Any], message: str) -> None:
    path = folder / "shd_test.h5"
    spoken(path, **{"times": [[0.5]], "units": [[3]], "labels": [4], **change})
    with pytest.raises(ValueError, match=message) as caught:
        load(SHD(folder, batch_size=4))
    assert str(path) in str(caught.value)


def test_truncated_and_missing_files_are_named(folder: Path) -> None:
    path = folder / "ssc_valid.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"ssc_valid\.h5: expected HDF5"):
        load(SSC(folder, batch_size=4))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)missing: \S*ssc_valid\.h5\n.*layout: .*HDF5 with.*source: https"):
        load(SSC(folder, batch_size=4))


def test_bad_settings() -> None:
    settings: list[tuple[dict[str, Any], str]] = [
        ({"validation": 1.0}, "SHD: expected validation as a share"), ({"steps": 0}, "got 0, 1.4, 0"),
        ({"duration": 0.0}, "got 100, 0.0, 0"), ({"rolled": -1}, "got 100, 1.4, -1"),
        ({"units": 300}, "units that divide 700, got 300"),
    ]  # fmt: skip
    for options, message in settings:
        with pytest.raises(ValueError, match=message):
            SHD(**options)


def test_the_model_of_the_config_takes_these_counts(folder: Path) -> None:
    more = ["--data.init_args.validation", ".5", "--data.init_args.batch_size", "4"]
    assert logits("events/shd.yaml", folder, *more).shape == (2, 20)
