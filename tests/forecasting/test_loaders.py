"""Each published form on a small file, and what comes of bad ones."""

import gzip
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spikeseq_forecasting import loaders

VALUES = np.random.default_rng(0).normal(size=(50, 3)).round(6)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, published in loaders.SETS.items():
        monkeypatch.setitem(loaders.SETS, name, replace(published, rows=50, series=3))


def write_ett(path, step="1h", values=VALUES):
    dates = pd.date_range("2016-07-01", periods=len(values), freq=step, name="date")
    pd.DataFrame(values, index=dates, columns=pd.Index(["HUFL", "LULL", "OT"][: values.shape[1]])).to_csv(path)


def write_text(path, values=VALUES):
    text = "\n".join(",".join(map(str, row)) for row in values) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_traffic(path, dates=None, sensors=(b"773869", b"767541", b"767542"), group="df"):
    """As pandas' "fixed" form lays a frame of one dtype out."""
    h5py = pytest.importorskip("h5py")
    dates = pd.date_range("2012-03-01", periods=50, freq="5min") if dates is None else dates
    with h5py.File(path, "w") as file:
        made = file.create_group(group)
        made["axis0"] = made["block0_items"] = list(sensors)
        made["axis1"] = dates.to_numpy().astype("datetime64[ns]").astype(np.int64)
        made["block0_values"] = VALUES


@pytest.mark.parametrize(("name", "step"), [("ETTh1", "1h"), ("ETTm2", "15min")])
def test_ett(tmp_path, name, step):
    write_ett(tmp_path / f"{name}.csv", step)
    frame = loaders.load(name, tmp_path)
    np.testing.assert_array_equal(frame.to_numpy(), VALUES)
    assert list(frame.columns) == ["HUFL", "LULL", "OT"]
    assert frame.index[1] - frame.index[0] == pd.Timedelta(step)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("electricity", "electricity.txt.gz"),
        ("electricity", "electricity.txt"),
        ("solar", "solar_AL.txt"),
        ("traffic", "traffic.txt"),
        ("exchange_rate", "exchange_rate.txt.gz"),
    ],
)
def test_multivariate_text(tmp_path, name, file):
    write_text(tmp_path / file)
    np.testing.assert_array_equal(loaders.load(name, str(tmp_path)).to_numpy(), VALUES)


@pytest.mark.parametrize(
    ("name", "group", "sensors"), [("METR-LA", "df", (b"1", b"2", b"3")), ("PEMS-BAY", "speed", (1, 2, 3))]
)
def test_traffic(tmp_path, name, group, sensors):
    write_traffic(tmp_path / f"{name.lower()}.h5", sensors=sensors, group=group)
    frame = loaders.load(name, tmp_path)
    np.testing.assert_array_equal(frame.to_numpy(), VALUES)
    assert list(frame.columns) == ["1", "2", "3"]
    assert frame.index[0] == pd.Timestamp("2012-03-01")


def test_pems_bay_may_skip_an_hour_and_metr_la_may_not(tmp_path):
    dates = pd.date_range("2017-03-12 01:00", periods=62, freq="5min").delete(range(12, 24))
    write_traffic(tmp_path / "pems-bay.h5", dates)
    assert len(loaders.load("PEMS-BAY", tmp_path)) == 50
    write_traffic(tmp_path / "metr-la.h5", dates)
    with pytest.raises(ValueError, match="5min apart, got 2017-03-12 01:55:00 then 2017-03-12 03:00:00 in row 12"):
        loaders.load("METR-LA", tmp_path)
    write_traffic(tmp_path / "pems-bay.h5", dates[::-1])
    with pytest.raises(ValueError, match="growing dates"):
        loaders.load("PEMS-BAY", tmp_path)


@pytest.mark.parametrize("name", loaders.SETS)
def test_a_missing_file_is_named_with_its_source(tmp_path, name):
    published = loaders.SETS[name]
    with pytest.raises(FileNotFoundError) as caught:
        loaders.load(name, tmp_path)
    for word in (published.files[0], str(tmp_path), published.source, "50 rows"):
        assert word in str(caught.value)


def test_unknown_set():
    with pytest.raises(ValueError, match=r"ETTh1.*got 'etth1'"):
        loaders.load("etth1", ".")


def test_missing_h5py_gives_the_pip_line(tmp_path, monkeypatch):
    write_traffic(tmp_path / "metr-la.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        loaders.load("METR-LA", tmp_path)


def test_wrong_counts(tmp_path):
    write_text(tmp_path / "traffic.txt", VALUES[:49])
    with pytest.raises(ValueError, match=r"50 rows of 3 series, got 49 rows of 3 series"):
        loaders.load("traffic", tmp_path)
    write_ett(tmp_path / "ETTh1.csv", values=VALUES[:, :2])
    with pytest.raises(ValueError, match="got 50 rows of 2 series"):
        loaders.load("ETTh1", tmp_path)


@pytest.mark.parametrize("text", ["1,2,3\n4,five,6\n", "1,2,3\n4,5,6,7\n", ""])
def test_text_that_is_no_table_of_numbers(tmp_path, text):
    (tmp_path / "traffic.txt").write_text(text)
    with pytest.raises(ValueError, match=r"traffic.txt: expected comma-separated numbers"):
        loaders.load("traffic", tmp_path)


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"1,2,3\n" * 9, mtime=0)[:-12]], ids=["none", "cut"])
def test_gzip_that_is_none_or_cut(tmp_path, content):
    (tmp_path / "exchange_rate.txt.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"exchange_rate.txt.gz: expected comma-separated numbers"):
        loaders.load("exchange_rate", tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path, bad):
    values = VALUES.copy()
    values[7, 1] = bad
    write_ett(tmp_path / "ETTh2.csv", values=values)
    with pytest.raises(ValueError, match="in row 7, column 1"):
        loaders.load("ETTh2", tmp_path)


def test_dates(tmp_path):
    write_ett(tmp_path / "ETTm1.csv", "1h")
    with pytest.raises(ValueError, match="15min apart"):
        loaders.load("ETTm1", tmp_path)
    text = (tmp_path / "ETTm1.csv").read_text()
    (tmp_path / "ETTm1.csv").write_text(text.replace("2016-07-01 03:00:00", "some day"))
    with pytest.raises(ValueError, match="expected dates"):
        loaders.load("ETTm1", tmp_path)
    (tmp_path / "ETTm1.csv").write_text(text.replace("date", "time", 1))
    with pytest.raises(ValueError, match="date"):
        loaders.load("ETTm1", tmp_path)


def test_hdf5_of_another_form(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "metr-la.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="expected HDF5"):
        loaders.load("METR-LA", tmp_path)
    with h5py.File(path, "w") as file:
        file.create_group("df")["values"] = VALUES
    with pytest.raises(ValueError, match="axis0"):
        loaders.load("METR-LA", tmp_path)
    write_traffic(path, sensors=(b"1", b"2"))
    with pytest.raises(ValueError, match=r"\[50, 2\], got \[50, 3\]"):
        loaders.load("METR-LA", tmp_path)
