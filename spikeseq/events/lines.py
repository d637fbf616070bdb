"""Events as lines of text, as the Event Camera Dataset has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .recording import Recording, recording


def read_lines(path: str | Path, size: tuple[int, int] = (180, 240)) -> Recording:
    """Lines "seconds x y polarity" of a DAVIS240, polarity 0 or 1; times become microseconds. size: (height, width).

    ValueError, naming the file, for an empty file, a line of another form (as a half-copied last one), events out of
    order or outside the sensor.
    Source: Mueggler et al., "The event-camera dataset and simulator", arXiv 1610.08336.
    """
    path = Path(path)
    text = path.read_text(errors="replace")
    try:
        table = np.array(text.split(), np.float64).reshape(-1, 4)
    except ValueError as error:
        raise ValueError(f"{path}: expected lines of four numbers, seconds x y polarity: {error}") from error
    if (
        not len(table)
        or {len(line.split()) for line in text.splitlines()} != {4}
        or not np.isin(table[:, 3], (0, 1)).all()
    ):
        raise ValueError(f"{path}: expected lines of seconds, x, y and polarity 0 or 1, got {text[:60]!r} ...")
    t, x, y, p = table.T
    if not np.isfinite(table).all() or (table[:, 1:3] % 1).any():
        raise ValueError(f"{path}: expected finite times and whole pixels")
    return recording(path, np.round(t * 1e6), x, y, p, size)
