"""Where data sets lie, and what to say when they do not."""

import os
import sys
from pathlib import Path


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
