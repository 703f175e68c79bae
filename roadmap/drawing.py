"""The graph of a roadmap's concepts, laid out for an SVG that the server draws.

Stages are bands from top to bottom. In each, a concept stands below what it needs; so every arrow leads downwards.
Boxes stand on fixed columns, with gutters between them: an arrow that passes other rows runs in a gutter, behind
no box. What follows from other arrows has none of its own.
"""

import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from roadmap.models import Concept, Stage

COLUMNS = 4
BOX_WIDTH, BOX_HEIGHT = 190, 62
GUTTER, ROW_GAP = 34, 40  # between columns, between rows
BAND_HEAD, BAND_FOOT = 66, 18  # of a stage, above and below its boxes
MARGIN = 16
BEND = 28  # height in which an arrow gets from a box to its gutter, below a stage's title
LANE = 5  # between two arrows in the same gutter
LETTERS, LINES = 21, 2  # of a title, in its box


class Line(NamedTuple):
    text: str
    y: int


class Box(NamedTuple):
    x: int
    y: int
    middle: int
    lines: list[Line]
    hours: str
    hours_y: int
    state: str  # its class in the style sheet


class Band(NamedTuple):
    y: int
    height: int
    title: str


class Drawing(NamedTuple):
    width: int
    height: int
    bands: list[Band]
    boxes: list[Box]
    arrows: list[str]  # paths
    box_width: int = BOX_WIDTH
    box_height: int = BOX_HEIGHT


def draw(stages: Iterable[Stage]) -> Drawing:
    """The drawing of stages whose concepts and prerequisites have been fetched."""
    parted = [(stage, list(stage.concepts.all())) for stage in stages]
    needs = {c.pk: {p.pk for p in c.prerequisites.all()} for _, concepts in parted for c in concepts}
    bands: list[Band] = []
    boxes: dict[int, Box] = {}
    rows: dict[int, int] = {}
    columns: dict[int, int] = {}
    y = row = 0
    for stage, concepts in parted:
        top = y
        y += BAND_HEAD
        for concepts_of_row in _rows(concepts, needs):
            for column, concept in _placed(concepts_of_row, needs, columns):
                columns[concept.pk], rows[concept.pk] = column, row
                boxes[concept.pk] = _box(concept, MARGIN + GUTTER + column * (BOX_WIDTH + GUTTER), y)
            y += BOX_HEIGHT + ROW_GAP
            row += 1
        y += BAND_FOOT - ROW_GAP
        bands.append(Band(top, y - top, stage.title))
        y += ROW_GAP - BAND_FOOT
    used = max(columns.values(), default=0) + 1
    width = 2 * MARGIN + GUTTER + used * (BOX_WIDTH + GUTTER)
    return Drawing(
        width,
        max((band.y + band.height for band in bands), default=0),
        bands,
        list(boxes.values()),
        list(_arrows(boxes, rows, columns, _without_implied(needs))),
    )


def _rows(concepts: list[Concept], needs: dict[int, set[int]]) -> Iterator[list[Concept]]:
    """A stage's concepts by how many others of it stand before each, at most `COLUMNS` to a row."""
    waiting = list(concepts)
    while waiting:
        later = {concept.pk for concept in waiting}
        ready = [concept for concept in waiting if not needs[concept.pk] & later] or waiting
        for first in range(0, len(ready), COLUMNS):
            yield ready[first : first + COLUMNS]
        placed = {concept.pk for concept in ready}
        waiting = [concept for concept in waiting if concept.pk not in placed]


def _placed(
    concepts: list[Concept], needs: dict[int, set[int]], columns: dict[int, int]
) -> Iterator[tuple[int, Concept]]:
    """A column for each concept of a row: near what it needs."""

    def wish(concept: Concept) -> float:
        above = [columns[pk] for pk in needs[concept.pk] if pk in columns]
        return sum(above) / len(above) if above else 0.0

    free = list(range(COLUMNS))
    in_order = sorted(concepts, key=wish)
    for number, concept in enumerate(in_order):
        # Leave as many columns to the right as there are concepts to come.
        possible = free[: len(free) - (len(in_order) - number - 1)]
        wished = wish(concept)
        _, column = min((abs(column - wished), column) for column in possible)
        free = [other for other in free if other > column]
        yield column, concept


def _without_implied(needs: dict[int, set[int]]) -> dict[int, set[int]]:
    """The prerequisites that no other prerequisite has anyway."""
    everything: dict[int, set[int]] = {}

    def all_of(pk: int) -> set[int]:
        if pk not in everything:
            everything[pk] = set()  # a circle, which no outline has, ends here
            direct = needs.get(pk, set())
            everything[pk] = direct.union(*(all_of(other) for other in direct))
        return everything[pk]

    return {
        pk: {one for one in direct if not any(one in all_of(other) for other in direct - {one})}
        for pk, direct in needs.items()
    }


def _arrows(
    boxes: dict[int, Box], rows: dict[int, int], columns: dict[int, int], needs: dict[int, set[int]]
) -> Iterator[str]:
    in_gutter: dict[int, int] = {}
    for pk, box in boxes.items():
        for before in sorted(needs[pk], key=lambda pk: (rows[pk], columns[pk])):
            start, end = boxes[before], box
            x, y, to_x, to_y = start.middle, start.y + BOX_HEIGHT, end.middle, end.y
            if rows[pk] - rows[before] <= 1:
                bend = (to_y - y) // 2
                yield f"M{x} {y}C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}"
                continue
            # On the side of the start's column on which the end is; straight down means the left one.
            gutter = columns[before] + (columns[pk] > columns[before])
            lane = in_gutter[gutter] = in_gutter.get(gutter, -1) + 1
            middle = MARGIN + gutter * (BOX_WIDTH + GUTTER) + GUTTER // 2 + (lane % 5 - 2) * LANE
            half = BEND // 2
            yield (
                f"M{x} {y}C{x} {y + half} {middle} {y + half} {middle} {y + BEND}"
                f"V{to_y - BEND}C{middle} {to_y - half} {to_x} {to_y - BEND} {to_x} {to_y}"
            )


def _box(concept: Concept, x: int, y: int) -> Box:
    lines = textwrap.wrap(concept.title, LETTERS, max_lines=LINES, placeholder=" …", break_long_words=True)
    first = y + (27 if len(lines) == 1 else 19)
    state = "gap" if concept.gap else "learned" if concept.learned_at else "plain"
    return Box(
        x,
        y,
        x + BOX_WIDTH // 2,
        [Line(text, first + 16 * number) for number, text in enumerate(lines)],
        f"{concept.hours.normalize():f}",
        y + BOX_HEIGHT - 9,
        state,
    )
