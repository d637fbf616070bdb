"""DVS128 Gesture from a few recordings written here in the published form."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikeseq.events import event_frames, voxel_grid
from spikeseq.tasks.dvs_gesture import DVSGesture
from tests.events.formats import aedat3, draw, gestures
from tests.tasks.from_config import logits

TRAIN = ["user01_led.aedat", "user01_natural.aedat", "user02_led.aedat", "user03_lab.aedat"]
TEST = ["user04_led.aedat"]
CLASSES = (1, 11, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    (folder / "trials_to_train.txt").write_text("\n".join(TRAIN) + "\n\n")
    (folder / "trials_to_test.txt").write_text("\n".join(TEST))
    for seed, name in enumerate([*TRAIN, *TEST]):
        gestures(folder, Path(name).stem, seed, CLASSES)
    return folder


def load(folder: Path, **options: Any):
    data = DVSGesture(folder, batch_size=2, validation=0.3, **options)
    data.setup()
    assert data.splits is not None
    return data.splits


def test_frames_are_those_of_the_gestures(folder: Path) -> None:
    made = gestures(folder, "user04_led", 4, CLASSES)
    test = load(folder, steps=3, by="time").test
    assert test.labels.tolist() == [0, 10, 3]
    for row, events in enumerate(made):
        assert torch.equal(test[row][0], event_frames(events, 3))
    coarse = load(folder, steps=3, by="time", side=16).test.values.float()
    assert torch.equal(coarse, test.values.float().unfold(3, 8, 8).unfold(4, 8, 8).sum((-2, -1)))
    grids = load(folder, steps=3, by="voxel").test
    x, y = grids.__getitems__([0, 1, 2])
    assert (x.shape, x.dtype, y.tolist()) == ((3, 3, 1, 128, 128), torch.float32, [0, 10, 3])
    torch.testing.assert_close(x[1, :, 0], voxel_grid(made[1], 3), atol=1e-3, rtol=1e-3)


def test_validation_users_are_in_no_other_split(folder: Path) -> None:
    splits = load(folder, steps=2)
    rows = [{row.numpy().tobytes() for row in part.values} for part in (splits.train, splits.val, splits.test)]
    by_user = {
        name: {
            event_frames(e, 2, "count").to(torch.uint8).numpy().tobytes()
            for e in gestures(folder, Path(name).stem, i, CLASSES)
        }
        for i, name in enumerate([*TRAIN, *TEST])
    }
    users = [{name.split("_")[0] for name in by_user if by_user[name] & part} for part in rows]
    assert users[0] | users[1] == {"user01", "user02", "user03"}
    assert not users[0] & users[1]
    assert users[2] == {"user04"}
    assert sum(map(len, rows)) == 15
    assert load(folder, steps=2, seed=5).val.values.equal(splits.val.values)


def test_what_was_cut_is_kept_until_a_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    with monkeypatch.context() as reading:
        reading.setattr("spikeseq.tasks.dvs_gesture.read_gestures", None)
        assert load(folder).test.values.equal(first.test.values)
    table = folder / "user04_led_labels.csv"
    table.write_text(table.read_text().replace("\n11,", "\n10,", 1).replace("900\n", "901\n"))
    assert load(folder).test.labels.tolist() == [0, 9, 3]


def test_only_training_gestures_move(folder: Path) -> None:
    torch.manual_seed(0)
    splits = load(folder, rolled=5)
    for part, moves in ((splits.train, True), (splits.val, False), (splits.test, False)):
        assert bool((part.__getitems__([0, 1])[0] != part.values[:2]).any()) == moves


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("trials_to_test.txt", "", "one .aedat file a line, each once"),
        ("trials_to_test.txt", "user04_led.aedat\nuser03_l", r"one \.aedat file a line, each once, got \['user03_l'\]"),
        ("trials_to_test.txt", "user04_led.aedat\nuser04_led.aedat", "each once"),
        ("trials_to_test.txt", "user04_led.aedat\nuser03_lab.aedat", "no trial of trials_to_train.txt, got user03_lab"),
        (
            "trials_to_train.txt",
            "\n".join(TRAIN[:3]),
            "user03_lab.aedat and 0 more are in neither: are the lists whole",
        ),
        ("user02_led_labels.csv", "class,startTime_usec,endTime_usec\n12,0,900\n", r"user02_led_labels.csv: .*1\.\.11"),
        (
            "user02_led_labels.csv",
            "class,startTime_usec,endTime_usec\n1,0,9\n2,9000,9900\n",
            "user02_led.aedat: .*none",
        ),
    ],
)
def test_bad_lists_and_tables_are_named(folder: Path, name: str, text: str, message: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_truncated_and_missing_recordings_are_named(folder: Path) -> None:
    path = folder / "user03_lab.aedat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"user03_lab\.aedat: expected a packet"):
        load(folder)
    events = draw(9, (200, 128), 3000)
    path.write_bytes(aedat3(events))
    with pytest.raises(ValueError, match=r"user03_lab\.aedat: expected events on a sensor of height 128"):
        load(folder)
    path.unlink()
    (folder / "user04_led.aedat").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"(?s)missing: \S*user03_lab\.aedat, \S*user04_led\.aedat\n.*source: h"
    ):
        load(folder)
    with pytest.raises(FileNotFoundError, match=r"(?s)trials_to_train\.txt.*layout: the folder DvsGesture.*source: h"):
        load(folder / "nothing")
    gestures(folder, "user03_lab", 3, CLASSES)
    gestures(folder, "user04_led", 4, CLASSES)
    (folder / "user01_led_labels.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"missing: \S*user01_led_labels\.csv\n"):
        load(folder)


def test_bad_settings() -> None:
    settings: list[tuple[dict[str, Any], str]] = [
        ({"validation": 0.0}, "DVSGesture: expected validation as a share"), ({"steps": 0}, "at least 1, got 0, 128"),
        ({"side": 0}, "at least 1, got 16, 0"), ({"by": "size"}, "time, count, voxel, got 'size'"),
        ({"rolled": -1}, "rolled of at least 0, got -1"),
    ]  # fmt: skip
    for options, message in settings:
        with pytest.raises(ValueError, match=message):
            DVSGesture(**options)


def test_sides_and_users_that_the_data_has_not(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"1\.\.128 by 1\.\.128, got 129 by 129"):
        load(folder, side=129)
    (folder / "trials_to_train.txt").write_text("user01_led.aedat\nuser01_natural.aedat\n")
    for name in ("user02_led", "user03_lab"):
        (folder / f"{name}.aedat").unlink()
    with pytest.raises(
        ValueError, match=r"trials_to_train\.txt: expected trials of at least two users, got \['user01'"
    ):
        load(folder)


def test_the_model_of_the_config_takes_these_frames(folder: Path) -> None:
    few = ["--data.init_args.steps", "1", "--data.init_args.batch_size", "2", "--data.init_args.validation", ".4"]
    assert logits("events/dvs_gesture.yaml", folder, *few).shape == (2, 11)
