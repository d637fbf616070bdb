"""Random ListOps expressions by the published rules, thousands at a time.

A node at depth < 10 is an operator with probability 1/4, uniform over MIN, MAX, MED and SM with 2 to 10 arguments one
level deeper; otherwise, and always at depth 10, a digit. The root (depth 1) is drawn by the same rule. An expression is
kept if 500 < length < 2000, where a digit counts 1 and an operator with its `]` counts 2; none is kept twice. About
twelve are drawn for one that is kept.

All trees of a batch grow together, a level at a time, and a tree that is too long already grows no further; lengths and
values then come back up the levels and positions go down. Source: Nangia and Bowman, arXiv 1804.06028; the settings of
the Long Range Arena, arXiv 2011.04006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOKENS = ("<pad>", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")
DIGIT, OPERATOR, END = 1, 11, 15  # the first token of each sort
MIN, MAX, MED, SM = range(4)
OPERATOR_SHARE, MOST_ARGUMENTS, MOST_DEPTH = 0.25, 10, 10
SHORTEST, LONGEST = 500, 2000  # both excluded
BATCH = 16384  # trees drawn together
PATIENCE = 20  # batches


@dataclass
class Level:
    """The nodes of one depth. parent: index into the level above; children of one node stand side by side."""

    parent: NDArray[np.int64]
    operator: NDArray[np.int64]  # -1 for a digit
    value: NDArray[np.int64]
    first: NDArray[np.int64]  # of an operator: its first child in the level below
    length: NDArray[np.int64]


def _grow(rng: np.random.Generator, longest: int) -> tuple[list[Level], NDArray[np.bool_]]:
    """The levels of BATCH trees, and which of them are whole: the others were cut when they had become too long."""
    tree = np.arange(BATCH)
    parent = np.zeros(BATCH, np.int64)
    size = np.ones(BATCH, np.int64)  # a lower bound of each tree's length
    levels: list[Level] = []
    for depth in range(1, MOST_DEPTH + 1):
        is_operator = rng.random(len(tree)) < (OPERATOR_SHARE if depth < MOST_DEPTH else 0.0)
        operator = np.where(is_operator, rng.integers(0, 4, len(tree)), -1)
        arguments = np.where(is_operator, rng.integers(2, MOST_ARGUMENTS + 1, len(tree)), 0)
        digit = rng.integers(0, 10, len(tree))
        size += np.bincount(tree, weights=arguments + is_operator, minlength=BATCH).astype(np.int64)
        arguments = np.where(size[tree] < longest, arguments, 0)
        levels.append(Level(parent, operator, digit, np.cumsum(arguments) - arguments, np.ones(len(tree), np.int64)))
        parent = np.repeat(np.arange(len(tree)), arguments)
        tree = tree[parent]
        if not len(tree):
            break
    return levels, size < longest


def _evaluate(levels: list[Level]) -> None:
    """Values and lengths, from the leaves up; those of a tree that was cut mean nothing."""
    for level, below in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        if not len(below.parent):
            continue
        starts = np.flatnonzero(np.diff(below.parent, prepend=-1))
        nodes = below.parent[starts]  # those that have children
        counts = np.diff(starts, append=len(below.parent))
        level.length[nodes] = 2 + np.add.reduceat(below.length, starts)
        ordered = below.value[np.lexsort((below.value, below.parent))]
        low, high = ordered[starts + (counts - 1) // 2], ordered[starts + counts // 2]
        results = np.stack([
            ordered[starts], ordered[starts + counts - 1], (low + high) // 2, np.add.reduceat(below.value, starts) % 10,
        ])  # fmt: skip
        level.value[nodes] = results[level.operator[nodes], np.arange(len(nodes))]


def _write(levels: list[Level], kept: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Tokens of the kept trees, one after another, and where each begins (with the end of the last)."""
    offsets = np.concatenate([[0], np.cumsum(levels[0].length[kept])])
    tokens = np.empty(offsets[-1], np.uint8)
    place = np.full(len(levels[0].parent), -1)
    place[kept] = offsets[:-1]
    for depth, level in enumerate(levels):
        if depth:
            above, places_above = levels[depth - 1], place
            before = np.cumsum(level.length) - level.length
            place = places_above[level.parent] + 1 + before - before[above.first[level.parent]]
            place[places_above[level.parent] < 0] = -1
        here = place >= 0
        node, at = np.flatnonzero(here), place[here]
        is_operator = level.operator[node] >= 0
        tokens[at] = np.where(is_operator, OPERATOR + level.operator[node], DIGIT + level.value[node])
        tokens[at[is_operator] + level.length[node][is_operator] - 1] = END
    return tokens, offsets


def draw(
    count: int, seed: int, shortest: int = SHORTEST, longest: int = LONGEST
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]:
    """`count` different expressions: tokens (see TOKENS) in one row, offsets [count + 1] into it, and values 0..9.

    The same for the same arguments on every machine.
    """
    if count < 1 or not 0 <= shortest < longest - 1:
        raise ValueError(
            f"ListOps: expected count >= 1 and 0 <= shortest < longest - 1, got {count}, {shortest}, {longest}"
        )
    rng = np.random.default_rng(seed)
    seen: set[bytes] = set()
    rows: list[NDArray[np.uint8]] = []
    values: list[int] = []
    barren = 0  # batches in a row without a new expression
    while len(rows) < count:
        barren += 1
        if barren > PATIENCE:
            raise ValueError(
                f"ListOps: {PATIENCE * BATCH:,} draws gave no new expression of {shortest} < length < {longest} beyond "
                f"the {len(rows)} found: expected a range that holds {count}"
            )
        levels, whole = _grow(rng, longest)
        _evaluate(levels)
        root = levels[0]
        kept = np.flatnonzero(whole & (root.length > shortest) & (root.length < longest))
        tokens, offsets = _write(levels, kept)
        for i, value in enumerate(root.value[kept]):
            row = tokens[offsets[i] : offsets[i + 1]]
            key = row.tobytes()
            if key not in seen and len(rows) < count:
                seen.add(key)
                barren = 0
                rows.append(row)
                values.append(int(value))
    lengths = np.array([len(row) for row in rows])
    return np.concatenate(rows), np.concatenate([[0], np.cumsum(lengths)]), np.array(values, np.uint8)
