"""The graph: whatever the outline, boxes keep apart and arrows lead downwards past them."""

import re
from itertools import combinations

import pytest
from django.contrib.auth.models import User

from roadmap.drawing import BOX_HEIGHT, BOX_WIDTH, COLUMNS, Drawing, draw
from roadmap.models import Concept, Roadmap, Stage
from tests.roadmap.fronts.rows import roadmap_of

NUMBERS = re.compile(r"-?\d+")


def drawn(roadmap: Roadmap) -> Drawing:
    return draw(roadmap.stages.prefetch_related("concepts__prerequisites"))


def wide_roadmap(owner: User, count: int) -> Roadmap:
    """One concept that all others need, and one that needs them all."""
    roadmap = Roadmap.objects.create(owner=owner, goal="wide")
    stage = Stage.objects.create(roadmap=roadmap, position=1, title="All of it")
    made = [
        Concept.objects.create(
            roadmap=roadmap,
            stage=stage,
            position=n,
            key=f"c{n}",
            title=f"Concept {n} " + "word " * 20,
            hours=1,
        )
        for n in range(count)
    ]
    for concept in made[1:-1]:
        concept.prerequisites.set([made[0]])
    made[-1].prerequisites.set(made[:-1])
    return roadmap


def points(arrow: str) -> list[int]:
    return [int(number) for number in NUMBERS.findall(arrow)]


@pytest.mark.parametrize("count", [2, 5, 12, 60])
def test_boxes_keep_apart_and_stay_inside(anna: User, count: int) -> None:
    drawing = drawn(wide_roadmap(anna, count))
    assert len(drawing.boxes) == count
    for one, other in combinations(drawing.boxes, 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - BOX_WIDTH
        assert 0 <= box.y <= drawing.height - BOX_HEIGHT
        assert len(box.lines) <= 2
    assert len({box.x for box in drawing.boxes}) <= COLUMNS


def test_arrows_begin_at_a_box_and_end_at_a_lower_one(anna: User) -> None:
    drawing = drawn(wide_roadmap(anna, 12))
    below = {(box.middle, box.y + BOX_HEIGHT) for box in drawing.boxes}
    above = {(box.middle, box.y) for box in drawing.boxes}
    assert drawing.arrows
    for arrow in drawing.arrows:
        numbers = points(arrow)
        assert tuple(numbers[:2]) in below
        assert tuple(numbers[-2:]) in above
        assert numbers[-1] > numbers[1]


def test_an_arrow_past_other_rows_runs_behind_no_box(anna: User) -> None:
    drawing = drawn(wide_roadmap(anna, 12))
    upright = [points(arrow)[6] for arrow in drawing.arrows if "V" in arrow]
    assert upright
    for x in upright:
        assert all(not box.x <= x <= box.x + BOX_WIDTH for box in drawing.boxes)


def test_what_follows_from_other_arrows_has_none(anna: User) -> None:
    drawing = drawn(roadmap_of(anna))
    # tables → queries → indexes → plans, which also names both of the others.
    assert len(drawing.arrows) == 3


def test_every_stage_is_a_band_around_its_boxes(anna: User) -> None:
    drawing = drawn(roadmap_of(anna))
    first, second = drawing.bands
    assert (first.title, second.title) == ("First steps", "Making it fast")
    assert first.y + first.height < second.y
    for box, band in zip(drawing.boxes, [first, first, second, second], strict=True):
        assert band.y < box.y
        assert box.y + BOX_HEIGHT < band.y + band.height
    assert drawing.height == second.y + second.height
