"""Where data sets lie, and what to say when they do not."""

import os
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def cache_folder(name: str) -> Path:
    """`name` in spikeseq's folder of the platform's cache: ~/.cache/spikeseq, ~/Library/Caches/spikeseq, ..."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "spikeseq" / name


def require(folder: Path, names: tuple[str, ...], layout: str, source: str) -> list[Path]:
    """The paths of `names` in `folder`. Raises FileNotFoundError that says what is missing and how to mend it."""
    paths = [folder / name for name in names]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"missing: {', '.join(missing)}\n"
            f"expected in {folder} (data_dir): {', '.join(names)}\n"
            f"layout: {layout}\n"
            f"source: {source}"
        )
    return paths


def kept(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """The arrays of the .npz file `path`; where there is none yet, those that `make` gives, written there first.

    Raises ValueError, naming the file, for a broken one.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(f".{os.getpid()}.npz")  # a run killed while writing leaves no half file
        np.savez_compressed(staged, allow_pickle=False, **make())
        staged.replace(path)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: expected arrays kept by an earlier run, got a broken file ({error}); delete it"
        ) from (error)
