"""DVS128 Gesture: a long AEDAT 3.1 recording and a csv file that says when each gesture is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .aedat import read_aedat3
from .recording import Recording

GESTURES = 11
COLUMNS = "class,startTime_usec,endTime_usec"


def read_gestures(path: str | Path) -> list[tuple[Recording, int]]:
    """The gestures of `user##_<light>.aedat` and `user##_<light>_labels.csv` beside it, each with its class 0..10.

    The file's classes are 1..11. FileNotFoundError without the csv; ValueError, naming the file, for a table of
    another form, classes or times that cannot be, a gesture without events, and as `read_aedat3`.
    Source: Amir et al., "A low power, fully event-based gesture recognition system", CVPR 2017.
    """
    path = Path(path)
    labels = path.with_name(f"{path.stem}_labels.csv")
    if not labels.is_file():
        raise FileNotFoundError(f"expected the gestures' times in {labels}, columns {COLUMNS}")
    head, *lines = labels.read_text().split()
    try:
        table = np.array([line.split(",") for line in lines], np.int64).reshape(-1, 3)
    except ValueError as error:
        raise ValueError(f"{labels}: expected three whole numbers a line: {error}") from error
    if head != COLUMNS or not len(table):
        raise ValueError(f"{labels}: expected the columns {COLUMNS} and at least one gesture, got {head!r}")
    wrong = (table[:, 0] < 1) | (table[:, 0] > GESTURES) | (table[:, 1] >= table[:, 2])
    if wrong.any():
        raise ValueError(
            f"{labels}: expected a class in 1..{GESTURES} and a start before the end, got {table[wrong][0].tolist()}"
        )
    whole = read_aedat3(path)
    gestures = [(whole.between(begin, end), label - 1) for label, begin, end in table.tolist()]
    for (events, _), (_, begin, end) in zip(gestures, table.tolist(), strict=True):
        if not len(events):
            raise ValueError(
                f"{path}: expected events from {begin} to {end} us, where {labels.name} has a gesture, got none: "
                "is the copy whole?"
            )
    return gestures
