"""Drawn Pathfinder images: labels, lengths, distances, gaps, the border, and what the pixels show."""

import numpy as np
import pytest

from spikeseq.tasks.snakes import FAR, PATHFINDER, PATHX, Rules, Scenes, draw, grow_contours, render

COUNTS = {PATHFINDER: 60, PATHX: 3}


@pytest.fixture(scope="module", params=[PATHFINDER, PATHX], ids=["32", "128"])
def drawn(request) -> tuple[Rules, np.ndarray, Scenes]:
    return request.param, *draw(COUNTS[request.param], 1, request.param)


def snakes(rules: Rules, scenes: Scenes, image: int) -> list[np.ndarray]:
    """The snakes of one image, each [paddles, 2 ends, 2]."""
    short = scenes.distractors[image].reshape(rules.distractors, rules.distractor, 2, 2)
    return [*scenes.contours[image], *(snake for snake in short if snake[0, 0, 0] < FAR)]


def test_labels_are_balanced_and_say_where_the_markers_are(drawn) -> None:
    _, images, scenes = drawn
    assert scenes.labels.sum() == len(images) // 2
    for contours, markers, label in zip(scenes.contours, scenes.markers, scenes.labels, strict=True):
        ends = [(which, end) for which in (0, 1) for end in (0, 1)]
        points = np.stack([contours[which, -end, end] for which, end in ends])
        found = [ends[int(np.abs(points - marker).sum(1).argmin())] for marker in markers]
        assert [np.abs(points - marker).sum(1).min() for marker in markers] == [0, 0]
        assert [end for _, end in found] == [0, 1], "one marker on a beginning, one on an end"
        assert (found[0][0] == found[1][0]) == bool(label)


def test_lengths_pitch_and_turns(drawn) -> None:
    rules, _, scenes = drawn
    for image in range(len(scenes.labels)):
        for number, snake in enumerate(snakes(rules, scenes, image)):
            assert len(snake) == (rules.contour if number < 2 else rules.distractor)
            strokes = snake[:, 1] - snake[:, 0]
            assert np.allclose(np.linalg.norm(strokes, axis=1), rules.paddle, atol=1e-3)
            angle = np.arctan2(strokes[:, 0], strokes[:, 1])
            turn = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
            assert turn.max() <= np.pi / 2 / rules.continuity + 1e-3
            gap = np.linalg.norm(snake[1:, 0] - snake[:-1, 1], axis=1)
            expected = gap / (2 * np.cos(turn / 2))  # two margins, with the turn between them
            assert np.abs(expected - expected.round()).max() < 1e-3
            assert set(expected.round()) <= set(rules.margins)


def test_every_margin_is_as_frequent_also_where_contours_fail_more_often() -> None:
    _, margins = grow_contours(np.random.default_rng(0), 400, Rules(margins=(1.0, 2.0), contour=3))
    assert abs((margins == 2).mean() - 0.5) < 4 * 0.5 / np.sqrt(400)


def test_the_seeds_stand_apart_in_the_middle(drawn) -> None:
    rules, _, scenes = drawn
    first, second = scenes.contours[:, 0, 0, 0], scenes.contours[:, 1, 0, 0]
    assert np.allclose(np.linalg.norm(first - second, axis=1), rules.seed_distance, atol=1e-3)
    assert first.min() >= 2 * rules.seed_distance
    assert first.max() <= rules.window - 1 - 2 * rules.seed_distance


def test_nothing_touches(drawn) -> None:
    """Paddles keep off the border and off all others but their neighbours."""
    rules, _, scenes = drawn
    share = np.linspace(0, 1, 11)[:, None]
    for image in range(len(scenes.labels)):
        parts = snakes(rules, scenes, image)
        points = [p[None, 0] * (1 - share) + p[None, 1] * share for snake in parts for p in snake]
        place = [(which, at) for which, snake in enumerate(parts) for at in range(len(snake))]
        assert np.concatenate(points).min() >= rules.padding + min(rules.margins) - 1e-3
        assert np.concatenate(points).max() <= rules.window - 1 - rules.padding - min(rules.margins) + 1e-3
        for i, mine in enumerate(points):
            for j in range(i):
                if place[i][0] != place[j][0] or place[i][1] - place[j][1] > 1:
                    distance = np.linalg.norm(mine[:, None] - points[j][None], axis=-1).min()
                    # the generator asks about points up to a pixel apart
                    assert distance >= np.sqrt((2 * min(rules.margins)) ** 2 - 0.5) - 1e-3


def test_markers_tell_nothing_by_their_distance() -> None:
    _, scenes = draw(150, 2)
    distance = np.linalg.norm(scenes.markers[:, 0] - scenes.markers[:, 1], axis=-1)
    one, other = distance[scenes.labels == 1], distance[scenes.labels == 0]
    error = np.sqrt(one.var() / len(one) + other.var() / len(other))
    assert abs(one.mean() - other.mean()) < 4 * error
    assert 10 < distance.mean() < 16


def test_most_distractors_find_room(drawn) -> None:
    rules, _, scenes = drawn
    found = np.mean([len(snakes(rules, scenes, i)) - 2 for i in range(len(scenes.labels))])
    assert 0.6 * rules.distractors < found <= rules.distractors


def test_pixels_show_paddles_and_markers_and_nothing_else(drawn) -> None:
    rules, images, scenes = drawn
    assert images.dtype == np.uint8
    assert images.shape == (len(scenes.labels), rules.window, rules.window)
    y, x = np.mgrid[: rules.window, : rules.window]
    for image, pixels in enumerate(images):
        middle = [tuple(np.rint(p.mean(0)).astype(int)) for snake in snakes(rules, scenes, image) for p in snake]
        assert all(pixels[at] > 0 for at in middle)
        for marker in scenes.markers[image]:
            inside = np.hypot(y - marker[0], x - marker[1]) <= rules.marker_radius - 0.5
            assert (pixels[inside] == 255).all()
        centres = np.concatenate([*(s.mean(1) for s in snakes(rules, scenes, image)), scenes.markers[image]])
        nearest = np.hypot(y[..., None] - centres[:, 0], x[..., None] - centres[:, 1]).min(-1)
        assert (pixels[nearest > max(rules.paddle / 2 + rules.thickness, rules.marker_radius) + 1] == 0).all()


def test_a_stroke_covers_its_area() -> None:
    """Antialiasing keeps the light of a long horizontal stroke: length times thickness."""
    rules = Rules(paddle=20.0, thickness=1.5, contour=1, contour_contrast=1.0)
    for offset in (0.0, 0.25, 0.5):
        ends = np.array([[16 + offset, 6], [16 + offset, 26]], np.float32)
        nowhere = np.full((1, 2, 2), FAR)
        contours = np.stack((ends, nowhere[0]))[None, :, None]
        scenes = Scenes(contours, nowhere[None, :0], np.full((1, 2, 2), -1.0, np.float32) * 0, np.zeros(1, np.uint8))
        light = render(scenes, rules)[0, 8:, 10:23].sum() / 255 / 13
        assert light == pytest.approx(1.5, abs=0.02)


def test_the_same_seed_gives_the_same() -> None:
    first, again, other = (draw(8, seed)[0] for seed in ((3, 1), (3, 1), (3, 2)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
