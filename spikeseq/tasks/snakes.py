"""Pathfinder images by the published rules, hundreds at a time: two dashed contours, distractors and two markers.

A snake is a row of paddles (short strokes). Each next paddle begins a margin behind the last one's end plus a margin
of its own, turned by an angle of density ~ cos(continuity * angle)^2. Paddles keep off the border and off all others:
no two come nearer than the gap that separates neighbours on one snake. Two contours grow in turn, the first from the
middle of the image, the second from `seed_distance` away; where one cannot go on, the image begins anew. Shorter
distractor snakes are then put where there is room. One marker sits on the beginning of a contour, the other on the end
of the same one (label 1) or of the other (label 0).

Growth happens in continuous coordinates with distances between points of the paddles in place of dilated rasters.
Source: Linsley et al., arXiv 1805.08315; the parameters of the Long Range Arena, arXiv 2011.04006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SEEDS, TURNS = 32, 16  # candidates for a first and for a next paddle
RESTARTS = 5  # of a distractor, before the image does without it
FAR = np.float32(1e4)  # where paddles lie that are not there


@dataclass(frozen=True)
class Rules:
    """Lengths in pixels. margins: one is drawn for each image. thickness below 1 is drawn fainter, as antialiasing
    does. The defaults are the Long Range Arena's 32 x 32 images with contours of 14 paddles."""

    window: int = 32
    padding: int = 1
    paddle: float = 2.0
    thickness: float = 0.5
    margins: tuple[float, ...] = (1.0,)
    marker_radius: float = 1.5
    seed_distance: float = 7.0
    continuity: float = 1.0
    contour: int = 14
    distractor: int = 4
    distractors: int = 5
    contour_contrast: float = 1.5  # the published 2 times .75
    distractor_contrast: float = 2.0


PATHFINDER = Rules()
PATHX = Rules(
    window=128, paddle=5.0, thickness=1.5, margins=(2.0, 3.0), marker_radius=3.0, seed_distance=20.0, continuity=1.8,
    distractors=8, contour_contrast=0.9, distractor_contrast=0.9,
)  # fmt: skip


@dataclass(frozen=True)
class Scenes:
    """What the images show. A paddle is its two ends (y, x); label 1: both markers on one contour.

    contours [images, 2, contour, 2, 2]; distractors [images, distractors * distractor, 2, 2], FAR where there was no
    room; markers [images, 2, 2]; labels uint8 [images].
    """

    contours: Floats
    distractors: Floats
    markers: Floats
    labels: NDArray[np.uint8]


def draw(count: int, seed: int | tuple[int, ...], rules: Rules = PATHFINDER) -> tuple[NDArray[np.uint8], Scenes]:
    """`count` images uint8 [count, window, window] and what they show; half of the labels (rounded down) are 1."""
    rng = np.random.default_rng(seed)
    contours, margins = grow_contours(rng, count, rules)
    distractors = grow_distractors(rng, contours, margins, rules)
    labels = rng.permutation(np.arange(count) % 2).astype(np.uint8)
    row = np.arange(count)
    first = rng.integers(0, 2, count)
    begin, end = contours[row, first, 0, 0], contours[row, np.where(labels == 1, first, 1 - first), -1, 1]
    scenes = Scenes(contours, distractors, np.stack((begin, end), 1), labels)
    return render(scenes, rules), scenes


def grow_contours(rng: np.random.Generator, count: int, rules: Rules) -> tuple[Floats, Floats]:
    """`count` pairs of contours [count, 2, contour, 2, 2] and the margin of each image [count]."""
    paddles = np.full((count, 2, rules.contour, 2, 2), FAR)
    margin = rng.choice(np.array(rules.margins, np.float32), count)
    placed = np.zeros(count, np.int64)  # paddles of both contours
    while (placed < 2 * rules.contour).any():
        empty = np.flatnonzero(placed == 0)
        paddles[empty] = FAR
        paddles[empty, :, 0], fits = _first_pair(rng, margin[empty], rules)
        placed[empty[fits]] = 2

        busy = np.flatnonzero((placed > 0) & (placed < 2 * rules.contour))
        snake, place = placed[busy] % 2, placed[busy] // 2
        last = paddles[busy, snake, place - 1]
        obstacles = paddles[busy]
        obstacles[np.arange(len(busy)), snake, place - 1] = FAR
        new, fits = _next_paddle(rng, last, obstacles.reshape(len(busy), 2 * rules.contour, 2, 2), margin[busy], rules)
        paddles[busy, snake, place] = new
        placed[busy] = np.where(fits, placed[busy] + 1, 0)
    return paddles, margin


def grow_distractors(rng: np.random.Generator, contours: Floats, margins: Floats, rules: Rules) -> Floats:
    """Distractor snakes beside the contours; those for which RESTARTS tries find no room are FAR."""
    images = len(contours)
    begin = 2 * rules.contour  # of the distractors among all paddles
    paddles = np.full((images, begin + rules.distractors * rules.distractor, 2, 2), FAR)
    paddles[:, :begin] = contours.reshape(images, begin, 2, 2)
    for at in range(begin, paddles.shape[1], rules.distractor):
        missing = np.arange(images)
        for _ in range(RESTARTS):
            rows = missing
            for step in range(rules.distractor):
                obstacles = paddles[rows]
                if step == 0:
                    new, fits = _seed(rng, obstacles, margins[rows], rules)
                else:
                    obstacles[:, at + step - 1] = FAR
                    last = paddles[rows, at + step - 1]
                    new, fits = _next_paddle(rng, last, obstacles, margins[rows], rules)
                paddles[rows, at + step] = new
                paddles[rows[~fits], at : at + rules.distractor] = FAR
                rows = rows[fits]
            missing = np.setdiff1d(missing, rows)
    return paddles[:, begin:]


def _stroke(tail: Floats, angle: Floats, length: float) -> Floats:
    """Paddles [..., 2 ends, 2] from their tails [..., 2] in the direction `angle` [...]."""
    direction = np.stack((np.sin(angle), np.cos(angle)), -1)
    return np.stack((tail, tail + length * direction), -2).astype(np.float32)


def _angles(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.uniform(-np.pi, np.pi, shape).astype(np.float32)


def _first_pair(rng: np.random.Generator, margin: Floats, rules: Rules) -> tuple[Floats, NDArray[np.bool_]]:
    """The first paddles of both contours, [n, 2, 2 ends, 2], and which of the pairs stand where they may."""
    n, low, high = len(margin), 2 * rules.seed_distance, rules.window - 1 - 2 * rules.seed_distance
    first = _stroke(rng.uniform(low, high, (n, 2)), _angles(rng, n), rules.paddle)
    around = _stroke(first[:, 0], _angles(rng, n), rules.seed_distance)[:, 1]
    second = _stroke(around, _angles(rng, n), rules.paddle)
    central = ((first >= low) & (first <= high)).all((1, 2))
    return np.stack((first, second), 1), central & _fits(second[:, None], first[:, None], margin, rules)[:, 0]


def _seed(
    rng: np.random.Generator, obstacles: Floats, margin: Floats, rules: Rules
) -> tuple[Floats, NDArray[np.bool_]]:
    n = len(margin)
    candidates = _stroke(rng.uniform(0, rules.window - 1, (n, SEEDS, 2)), _angles(rng, n, SEEDS), rules.paddle)
    return _choose(rng, candidates, _fits(candidates, obstacles, margin, rules).astype(np.float32))


def _next_paddle(
    rng: np.random.Generator, last: Floats, obstacles: Floats, margin: Floats, rules: Rules
) -> tuple[Floats, NDArray[np.bool_]]:
    """A paddle after `last` [n, 2 ends, 2], and whether one of TURNS candidates fits."""
    direction = (last[:, 1] - last[:, 0]) / rules.paddle
    turn = (np.arange(TURNS) + rng.random((len(last), TURNS))) / TURNS - 0.5
    angle = np.arctan2(direction[:, 0], direction[:, 1])[:, None] + np.pi * turn / rules.continuity
    pivot = last[:, 1] + margin[:, None] * direction
    step = np.stack((np.sin(angle), np.cos(angle)), -1)
    candidates = _stroke(pivot[:, None] + margin[:, None, None] * step, angle, rules.paddle)
    weights = np.cos(np.pi * turn) ** 2 * _fits(candidates, obstacles, margin, rules)
    return _choose(rng, candidates, weights)


def _choose(rng: np.random.Generator, candidates: Floats, weights: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """One of the candidates of each row with probabilities ~ weights [n, k], and whether any has weight."""
    up_to = weights.cumsum(1)
    chosen = (up_to <= rng.random((len(weights), 1)) * up_to[:, -1:]).sum(1)
    return candidates[np.arange(len(weights)), np.minimum(chosen, weights.shape[1] - 1)], up_to[:, -1] > 0


def _fits(candidates: Floats, obstacles: Floats, margin: Floats, rules: Rules) -> NDArray[np.bool_]:
    """Which candidates [n, k, 2, 2] lie inside the border and no nearer than 2 margins to obstacles [n, m, 2, 2]."""
    border = rules.padding + margin[:, None, None, None]
    inside = ((candidates >= border) & (candidates <= rules.window - 1 - border)).all((2, 3))
    mine, theirs = _points(candidates, rules), _points(obstacles, rules)
    gap2 = (theirs**2).sum(-1)[:, None] - 2 * mine @ theirs.transpose(0, 2, 1)  # less |mine|^2
    gap2 = (gap2.min(-1) + (mine**2).sum(-1)).reshape(*inside.shape, _steps(rules)).min(-1)
    return inside & (gap2 >= (2 * margin[:, None]) ** 2)


def _points(paddles: Floats, rules: Rules) -> Floats:
    """Points along each of n * m paddles [n, m, 2, 2], at most a pixel apart: [n, points, 2]."""
    share = np.linspace(0, 1, _steps(rules), dtype=np.float32)[:, None]
    points = paddles[..., :1, :] * (1 - share) + paddles[..., 1:, :] * share
    return points.reshape(len(paddles), paddles.shape[1] * _steps(rules), 2)


def _steps(rules: Rules) -> int:
    return int(np.ceil(rules.paddle)) + 1


def render(scenes: Scenes, rules: Rules) -> NDArray[np.uint8]:
    """Images uint8 [images, window, window]: each pixel the brightest of the strokes' and markers' coverage of it."""
    images = len(scenes.labels)
    reach = int(np.ceil(max(rules.paddle / 2 + rules.thickness, rules.marker_radius))) + 1
    side = rules.window + 2 * reach
    canvas = np.zeros((images, side * side), np.float32)
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), -1).reshape(-1, 2)
    row = np.arange(images)[:, None]

    def stamp(ends: Floats, radius: float, contrast: float) -> None:
        here = ends[:, 0, 0] < FAR
        begin, along = ends[here, None, 0], ends[here, None, 1] - ends[here, None, 0]
        pixel = np.rint(begin + along / 2).astype(np.int64) + offsets
        share = ((pixel - begin) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
        distance = np.linalg.norm(pixel - begin - np.clip(share, 0, 1)[..., None] * along, axis=-1)
        light = contrast * np.clip(radius + 0.5 - distance, 0, min(1, 2 * radius))
        at = row[here], (pixel[..., 0] + reach) * side + pixel[..., 1] + reach
        canvas[at] = np.maximum(canvas[at], light)

    for contour in range(2):
        for place in range(rules.contour):
            stamp(scenes.contours[:, contour, place], rules.thickness / 2, rules.contour_contrast)
    for place in range(scenes.distractors.shape[1]):
        stamp(scenes.distractors[:, place], rules.thickness / 2, rules.distractor_contrast)
    for which in range(2):
        stamp(np.repeat(scenes.markers[:, which, None], 2, 1), rules.marker_radius, 1.0)
    inner = canvas.reshape(images, side, side)[:, reach:-reach, reach:-reach]
    return np.rint(255 * np.clip(inner, 0, 1)).astype(np.uint8)
