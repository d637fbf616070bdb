"""Every format written here from its definition and read back; every bad file is an error that names it."""

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeseq.events import (
    Recording,
    iter_spoken,
    read_aedat2,
    read_aedat3,
    read_aedat4,
    read_dat,
    read_gestures,
    read_lines,
    read_nmnist,
    read_spoken,
)
from tests.events.formats import aedat2, aedat3, dat, draw, equal, lines, nmnist, packet, spoken

SHARED = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)


@SHARED
@given(seeds)
def test_nmnist(tmp_path: Path, seed: int) -> None:
    path, events = tmp_path / "a.bin", draw(seed, (34, 34), 2**23)
    path.write_bytes(nmnist(events))
    assert equal(read_nmnist(path), events)


def test_nmnist_clock_marks_move_what_follows(tmp_path: Path) -> None:
    events = Recording(
        np.array([8000, 0, 100]), np.array([1, 0, 2]), np.array([3, 240, 4]), np.array([True] * 3), (0, 0)
    )
    path = tmp_path / "a.bin"
    path.write_bytes(nmnist(events))
    read = read_nmnist(path)
    assert (read.t.tolist(), read.x.tolist(), read.y.tolist()) == ([8000, 8292], [1, 2], [3, 4])


@SHARED
@given(seeds)
def test_aedat2(tmp_path: Path, seed: int) -> None:
    path, events = tmp_path / "a.aedat", draw(seed, (128, 128), 2**31)
    path.write_bytes(aedat2(events) + struct.pack(">II", 1 << 15, 2**31))  # a special event at the end
    assert equal(read_aedat2(path), events)


@SHARED
@given(seeds, st.booleans())
def test_aedat3(tmp_path: Path, seed: int, late: bool) -> None:
    path, events = tmp_path / "a.aedat", draw(seed, (128, 128), 2**31)
    if late:  # the clock has run over twice
        events = Recording(events.t + (2 << 31), events.x, events.y, events.p, events.size)
    path.write_bytes(aedat3(events))
    assert equal(read_aedat3(path), events)
    valid = np.arange(len(events)) % 3 != 0
    path.write_bytes(aedat3(events, valid))
    assert equal(
        read_aedat3(path), Recording(events.t[valid], events.x[valid], events.y[valid], events.p[valid], events.size)
    )


@SHARED
@given(seeds, st.sampled_from([0x00, 0x0C]))
def test_dat(tmp_path: Path, seed: int, kind: int) -> None:
    path, events = tmp_path / "a.dat", draw(seed, (240, 304), 2**31)
    path.write_bytes(dat(events, kind))
    assert equal(read_dat(path), events)


@SHARED
@given(seeds)
def test_lines(tmp_path: Path, seed: int) -> None:
    path, events = tmp_path / "events.txt", draw(seed, (180, 240), 2**31)
    path.write_bytes(lines(events))
    assert equal(read_lines(path), events)


def test_gestures_are_cut_at_their_times(tmp_path: Path) -> None:
    path, events = tmp_path / "user01_led.aedat", draw(0, (128, 128), 1000)
    path.write_bytes(aedat3(events))
    table = tmp_path / "user01_led_labels.csv"
    table.write_text("class,startTime_usec,endTime_usec\n2,100,400\n11,400,900\n")
    (first, a), (second, b) = read_gestures(path)
    assert (a, b) == (1, 10)
    assert first.t.tolist() == [t for t in events.t if 100 <= t < 400]
    assert second.t.tolist() == [t for t in events.t if 400 <= t < 900]
    for text, message in (
        ("class,startTime_usec,endTime_usec\n12,1,2\n", r"class in 1\.\.11 .*got \[12, 1, 2\]"),
        ("class,startTime_usec,endTime_usec\n1,2,2\n", "start before the end"),
        ("class,startTime_usec,endTime_usec\n1,2\n", "three whole numbers"),
        ("class,startTime_usec,endTime_usec\n1,x,2\n", "three whole numbers"),
        ("class,startTime_usec,endTime_usec\n", "at least one gesture"),
        ("a,b,c\n1,2,3\n", "expected the columns"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=f"user01_led_labels.csv: .*{message}"):
            read_gestures(path)
    table.write_text("class,startTime_usec,endTime_usec\n1,100,400\n2,2000,3000\n")
    with pytest.raises(ValueError, match=r"user01_led\.aedat: expected events from 2000 to 3000 us, .*got none"):
        read_gestures(path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"user01_led_labels\.csv, columns class,startTime_usec"):
        read_gestures(path)


def stand_in(streams: dict[int, dict[str, Any]], packets: list[dict[str, Any]]) -> SimpleNamespace:
    """What we use of the aedat library."""

    class Decoder:
        def __init__(self, path: str) -> None:
            if not Path(path).read_bytes():
                raise RuntimeError("failed to fill whole buffer")

        def id_to_stream(self) -> dict[int, dict[str, Any]]:
            return streams

        def __iter__(self) -> Any:
            return iter(packets)

    return SimpleNamespace(Decoder=Decoder)


def test_aedat4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = draw(1, (20, 30), 2**50)
    raw = np.zeros(len(events), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    raw["t"], raw["x"], raw["y"], raw["on"] = events.t, events.x, events.y, events.p
    streams: dict[int, dict[str, Any]] = {0: {"type": "events", "width": 30, "height": 20}, 1: {"type": "imus"}}
    packets = [
        {"stream_id": 0, "events": raw[:9]}, {"stream_id": 1, "imus": []}, {"stream_id": 0, "events": raw[9:]},
    ]  # fmt: skip
    path = tmp_path / "a.aedat4"
    path.write_bytes(b"#")
    monkeypatch.setitem(sys.modules, "aedat", stand_in(streams, packets))
    assert equal(read_aedat4(path), events)
    monkeypatch.setitem(sys.modules, "aedat", stand_in(streams, []))
    assert len(read_aedat4(path)) == 0
    monkeypatch.setitem(sys.modules, "aedat", stand_in({}, []))
    with pytest.raises(ValueError, match=r"a\.aedat4: expected one event stream, got 0"):
        read_aedat4(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.aedat4: expected a whole AEDAT 4 file: failed to fill"):
        read_aedat4(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.aedat4"):
        read_aedat4(path)
    monkeypatch.setitem(sys.modules, "aedat", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeseq\[events\]'"):
        read_aedat4(path)


def test_spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "shd_train.h5"
    times, units = [[0.5, 0.25, 0.75], [0.125]], [[3, 699, 0], [7]]

    def write(units: list[list[int]], labels: list, group: str = "spikes") -> None:
        spoken(path, times, units, labels, group)

    write(units, [4, 19])
    (first, a), (second, b) = read_spoken(path)
    assert (a, b) == (4, 19)
    assert (first.t.tolist(), first.x.tolist(), first.size) == ([250000, 500000, 750000], [699, 3, 0], (1, 700))
    assert (second.t.tolist(), second.x.tolist(), second.p.tolist()) == ([125000], [7], [True])
    monkeypatch.setattr("spikeseq.events.spoken.ROWS", 1)
    assert all(equal(a, b) for (a, _), (b, _) in zip(iter_spoken(path), read_spoken(path), strict=True))
    spoken(path, [[0.5, -0.25, 0.75], [0.125]], units, [4, 19])
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected times of at least 0 s, got -0\.25"):
        read_spoken(path)
    spoken(path, [[0.5, float("nan"), 0.75], [0.125]], units, [4, 19])
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected times of at least 0 s, got nan"):
        read_spoken(path)
    write([[3, 700, 0], [7]], [4, 19])
    with pytest.raises(ValueError, match=r"shd_train\.h5: .*got x = 700"):
        read_spoken(path)
    write([[3, 0], [7]], [4, 19])
    with pytest.raises(ValueError, match="a unit for each time, got 2 and 3"):
        read_spoken(path)
    write(units, [4])
    with pytest.raises(ValueError, match="as many times, units and labels, got 2, 2, 1"):
        read_spoken(path)
    write(units, [4, 19], "others")
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected HDF5 with spikes/times"):
        read_spoken(path)
    for labels in (["four", "two"], [4.5, 2.0], [float("nan"), 2.0]):
        write(units, labels)
        with pytest.raises(ValueError, match=r"shd_train\.h5: expected whole numbers as labels, got"):
            read_spoken(path)
    with h5py.File(path, "w") as file:
        file["spikes/times"], file["spikes/units"], file["labels"] = [0.5, 0.75], [3, 7], [4, 19]
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected a list of times .*got single numbers"):
        read_spoken(path)
    spoken(path, times, units, [4, 19], "spikes/times")  # a group where a list should be
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected HDF5 with .*found 1 of these lists"):
        read_spoken(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"shd_train\.h5: expected HDF5 with spikes/times"):
        read_spoken(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"shd_train\.h5"):
        read_spoken(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeseq\[events\]'"):
        read_spoken(path)


GOOD = draw(2, (34, 34), 1000)
BACK = Recording(GOOD.t[::-1], GOOD.x, GOOD.y, GOOD.p, GOOD.size)
OUTSIDE = Recording(GOOD.t, GOOD.x + 30, GOOD.y, GOOD.p, GOOD.size)
FAR = Recording(GOOD.t, GOOD.x + 304, GOOD.y, GOOD.p, GOOD.size)


@pytest.mark.parametrize(
    ("read", "raw", "message"),
    [
        (read_nmnist, b"", "whole events of 5 bytes, at least one, got 0 bytes"),
        (read_nmnist, nmnist(GOOD)[:-1], "whole events of 5 bytes, at least one, got 299 bytes"),
        (read_nmnist, nmnist(BACK), r"order of time, got \d+ us after \d+ us at event 1"),
        (read_nmnist, nmnist(OUTSIDE), r"sensor of height 34 and width 34, got x = \d+"),
        (read_aedat2, b"", "begins with #!AER-DAT2.0, got b''"),
        (read_aedat2, aedat3(GOOD), "begins with #!AER-DAT2.0, got b'#!AER-DAT3.1'"),
        (read_aedat2, b"#!AER-DAT2.0", "ends within one"),
        (read_aedat2, aedat2(GOOD)[:-3], "whole events of 8 bytes after the header, got 477 bytes"),
        (read_aedat2, aedat2(BACK), "order of time"),
        (read_aedat2, b"#!AER-DAT2.0\n# AEChip: Davis346red\n", "a recording of a DVS128, got b'AEChip: Davis346red"),
        (read_aedat3, aedat2(GOOD), "begins with #!AER-DAT3.1"),
        (read_aedat3, aedat3(GOOD)[:-1], "a packet of 35 events of 8 bytes, got 279 bytes"),
        (read_aedat3, aedat3(GOOD)[: 50 + 10], "packet header of 28 bytes"),
        (read_aedat3, b"#!AER-DAT3.1\n" + packet(1, b"", 0, 0), "a packet of 0 events of 0 bytes"),
        (read_aedat3, b"#!AER-DAT3.1\n" + packet(1, b"0" * 4, 4, 1), "polarity events of 8 bytes, got 4"),
        (read_aedat3, aedat3(BACK), "order of time"),
        (read_dat, b"", "a header of % lines"),
        (read_dat, b"% Version 2", r"a header of % lines .*got type, size \(\)"),
        (read_dat, dat(GOOD)[2:], "a header of % lines"),
        (read_dat, dat(GOOD, 0x0E), r"contrast changes of 8 bytes, got type, size \(14, 8\)"),
        (read_dat, dat(GOOD)[:-3], "whole events of 8 bytes after the header, got 477 bytes"),
        (read_dat, dat(BACK), "order of time"),
        (read_dat, dat(FAR), r"sensor of height 240 and width 304, got x = 3\d\d"),
        (read_lines, b"", "lines of seconds, x, y and polarity"),
        (read_lines, lines(GOOD)[:-3], "lines of four numbers"),
        (read_lines, b"\xff\xfe\x00 1 2", "lines of four numbers"),
        (read_lines, b"0.1 1 2 1 0.2\n3 4 1\n", "lines of seconds, x, y and polarity"),
        (read_lines, b"1e300 1 2 1\n", r"whole numbers below 2\^62 as t"),
        (read_lines, lines(GOOD) + b"0.5 1 2 x\n", "lines of four numbers"),
        (read_lines, lines(GOOD) + b"0.5 1 2 2\n", "polarity 0 or 1"),
        (read_lines, lines(GOOD) + b"0.5 1\n2 1\n", "lines of seconds, x, y and polarity"),
        (read_lines, lines(GOOD) + b"0.5 1.5 2 1\n", "finite times and whole pixels"),
        (read_lines, lines(GOOD) + b"nan 1 2 1\n", "finite times and whole pixels"),
        (read_lines, lines(BACK), "order of time"),
        (read_lines, lines(FAR), r"sensor of height 180 and width 240, got x = 3\d\d"),
    ],
)  # fmt: skip
def test_bad_files_are_named(tmp_path: Path, read: Any, raw: bytes, message: str) -> None:
    path = tmp_path / "bad.file"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=rf"bad\.file: .*{message}"):
        read(path)


def test_outside_the_sensor_that_was_named(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat3(draw(3, (128, 128), 1000)))
    with pytest.raises(ValueError, match="sensor of height 10 and width 128"):
        read_aedat3(path, (10, 128))
