"""Readers of the published multivariate forecasting sets, from a folder that the user names; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spikeseq.tasks.files import require

ETT = "https://github.com/zhouhaoyi/ETDataset (ETT-small)"
LSTNET = "https://github.com/laiguokun/multivariate-time-series-data"
DCRNN = "https://github.com/liyaguang/DCRNN (its README links the two .h5 files)"


@dataclass(frozen=True)
class Published:
    """One set: the names its file goes by, its size, the time between rows (None: not regular) and where it is from."""

    files: tuple[str, ...]
    rows: int
    series: int
    step: str | None
    source: str


SETS = {
    "ETTh1": Published(("ETTh1.csv",), 17420, 7, "1h", ETT),
    "ETTh2": Published(("ETTh2.csv",), 17420, 7, "1h", ETT),
    "ETTm1": Published(("ETTm1.csv",), 69680, 7, "15min", ETT),
    "ETTm2": Published(("ETTm2.csv",), 69680, 7, "15min", ETT),
    "electricity": Published(("electricity.txt.gz", "electricity.txt"), 26304, 321, "1h", LSTNET),
    "solar": Published(("solar_AL.txt.gz", "solar_AL.txt"), 52560, 137, "10min", LSTNET),
    "traffic": Published(("traffic.txt.gz", "traffic.txt"), 17544, 862, "1h", LSTNET),
    "exchange_rate": Published(("exchange_rate.txt.gz", "exchange_rate.txt"), 7588, 8, "1D", LSTNET),
    "METR-LA": Published(("metr-la.h5",), 34272, 207, "5min", DCRNN),
    # Its 5-minute steps lack the hour that daylight saving skips.
    "PEMS-BAY": Published(("pems-bay.h5",), 52116, 325, None, DCRNN),
}


def load(name: str, data_dir: str | Path) -> pd.DataFrame:
    """The set `name` as a frame [time, series], float64; its index holds the dates where the file does.

    In METR-LA a missing value is published as 0; it stays 0.

    Raises ValueError for an unknown name, another shape than published, values that are not finite or dates that are
    not in step; FileNotFoundError that says which file is missing, and its source; ImportError with the pip line where
    a reader needs a library.
    """
    if name not in SETS:
        raise ValueError(f"expected a set of {', '.join(SETS)}, got {name!r}")
    published = SETS[name]
    folder = Path(data_dir).expanduser()
    here = [file for file in published.files if (folder / file).is_file()]
    layout = f"{' or '.join(published.files)}, as published: {published.rows} rows of {published.series} series"
    (path,) = require(folder, tuple(here[:1] or published.files[:1]), layout, published.source)
    frame = read(path)
    if frame.shape != (published.rows, published.series):
        raise ValueError(f"{path}: expected {layout}, got {frame.shape[0]} rows of {frame.shape[1]} series")
    if isinstance(frame.index, pd.DatetimeIndex):
        check_dates(path, frame.index, published.step)
    return frame


def read(path: Path) -> pd.DataFrame:
    """One file of the three published forms, told apart by its name: .csv, .txt or .txt.gz, .h5."""
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    readers = {".csv": read_ett, ".txt": read_text, ".txt.gz": read_text, ".h5": read_traffic}
    if suffix not in readers:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(readers)}")
    frame = readers[suffix](path)
    values = frame.to_numpy()
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"{path}: expected finite numbers, got {values[row, column]} in row {row}, column {column}")
    return frame


def read_ett(path: Path) -> pd.DataFrame:
    """A comma-separated file with a header whose first column is `date`."""
    frame = numbers(path, header=0, index_col="date")
    try:
        frame.index = pd.to_datetime(frame.index)
    except ValueError as error:
        raise ValueError(f"{path}: expected dates in the first column: {error}") from None
    return frame


def read_text(path: Path) -> pd.DataFrame:
    """Comma-separated numbers, gzipped or not, no header: a row is a time step, a column a series."""
    return numbers(path, header=None)


def numbers(path: Path, **options: object) -> pd.DataFrame:
    """A comma-separated file of numbers as float64, errors with the file's name."""
    try:
        frame = pd.read_csv(path, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return frame.astype(np.float64)
    except (ValueError, EOFError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise ValueError(f"{path}: expected comma-separated numbers: {error}") from error


def read_traffic(path: Path) -> pd.DataFrame:
    """A table that pandas wrote to HDF5 in its "fixed" form: one group with axis0, axis1 and block0_values.

    axis0: the sensors; axis1: nanoseconds since 1970; block0_values: [time, sensors]. Read by h5py and not by
    `pandas.read_hdf`, which unpickles what the file says.
    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise ImportError(f"{path}: reading HDF5 needs h5py: pip install h5py") from None
    try:
        with h5py.File(path) as file:
            (group,) = file.values()
            sensors, dates, values = (group[key][()] for key in ("axis0", "axis1", "block0_values"))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected HDF5 with one group of axis0, axis1 and block0_values, as published: {error}"
        ) from None
    if values.shape != (len(dates), len(sensors)):
        raise ValueError(f"{path}: expected values [{len(dates)}, {len(sensors)}], got {list(values.shape)}")
    labels = [sensor.decode() if isinstance(sensor, bytes) else str(sensor) for sensor in sensors]
    return pd.DataFrame(values.astype(np.float64), index=pd.to_datetime(dates), columns=pd.Index(labels))


def check_dates(path: Path, dates: pd.DatetimeIndex, step: str | None) -> None:
    """Raises ValueError where dates do not grow, or do not grow by `step`."""
    apart = np.diff(dates.to_numpy())
    wrong = apart <= np.timedelta64(0) if step is None else apart != pd.to_timedelta([step]).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong)) + 1
        expected = "growing dates" if step is None else f"dates {step} apart"
        raise ValueError(f"{path}: expected {expected}, got {dates[row - 1]} then {dates[row]} in row {row}")
