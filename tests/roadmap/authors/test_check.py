"""The plain check of an outline."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmap.runs.authors.base import Brief, Concept, Outline, Stage
from roadmap.runs.authors.check import LONGEST_NAME, MOST_CONCEPTS, problems

ANY = Brief(goal="x")


def concept(key: str, *needs: str, hours: float = 1, title: str | None = None) -> Concept:
    name = f"About {key}" if title is None else title
    return Concept(key=key, title=name, summary="It is.", hours=hours, prerequisites=list(needs))


def outline(*concepts: Concept) -> Outline:
    return Outline(
        title="T", summary="S", stages=[Stage(title="First", summary="S", concepts=list(concepts))]
    )


@st.composite
def good(draw: st.DrawFn) -> Outline:
    """Concepts that need earlier ones only, shuffled, in some stages."""
    number = draw(st.integers(1, 20))
    concepts = [
        concept(
            f"k{i}",
            *sorted({f"k{n}" for n in draw(st.lists(st.integers(0, i - 1), max_size=3))} if i else []),
        )
        for i in range(number)
    ]
    concepts = draw(st.permutations(concepts))
    cut = draw(st.integers(1, number))
    parts = [part for part in (concepts[:cut], concepts[cut:]) if part]
    stages = [Stage(title=f"Stage {i}", summary="S", concepts=part) for i, part in enumerate(parts)]
    return Outline(title="T", summary="S", stages=stages)


@settings(max_examples=100, deadline=None)
@given(good())
def test_a_good_outline_has_no_problems_and_survives_being_plain_data(made: Outline) -> None:
    assert problems(made, Brief(goal="x", hours_per_week=len(made.concepts), weeks=1)) == []
    assert Outline.model_validate(made.model_dump()) == made
    assert Outline.model_validate_json(made.model_dump_json()) == made


@settings(max_examples=100, deadline=None)
@given(good(), st.data())
def test_a_circle_of_any_length_is_found(made: Outline, data: st.DataObject) -> None:
    keys = [one.key for one in made.concepts]
    circle = data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    needs = dict(zip(circle, [*circle[1:], circle[0]], strict=True))
    changed = outline(
        *(
            concept(one.key, *one.prerequisites, *([needs[one.key]] if one.key in needs else []))
            for one in made.concepts
        )
    )
    found = problems(changed, ANY)
    assert len(found) == 1
    named = (
        found[0]
        .removeprefix("The prerequisites go in a circle, each needs the next: ")
        .rstrip(".")
        .split(" → ")
    )
    assert named[0] == named[-1]
    by_key = {one.key: one.prerequisites for one in changed.concepts}
    assert all(after in by_key[before] for before, after in itertools.pairwise(named))


@settings(max_examples=100, deadline=None)
@given(good(), st.data())
def test_a_prerequisite_that_is_not_there_is_named(made: Outline, data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from([one.key for one in made.concepts]))
    rest = [one for one in made.concepts if one.key != gone]
    found = problems(outline(*rest), ANY)
    if not rest:
        assert found == ["Stage 1 has no concepts."]
    else:
        needing = [one.key for one in rest if gone in one.prerequisites]
        assert found == [f"The concept {key!r} needs {gone!r}, which is not there." for key in needing]


@settings(max_examples=100, deadline=None)
@given(good(), st.integers(1, 30), st.integers(1, 3))
def test_hours_count_only_where_both_numbers_are_given(made: Outline, hours: int, weeks: int) -> None:
    assert problems(made, Brief(goal="x", hours_per_week=hours)) == []
    assert problems(made, Brief(goal="x", weeks=weeks)) == []
    needed, there = len(made.concepts), hours * weeks
    said = f"The concepts take {needed} hours together, but there are only {there}: {hours} a week for {weeks} weeks."
    found = problems(made, Brief(goal="x", hours_per_week=hours, weeks=weeks))
    assert found == ([said] if needed > there else [])


def test_a_sum_that_is_off_by_its_last_digits_is_not_too_much() -> None:
    assert problems(outline(concept("a", hours=3 + 1e-9)), Brief(goal="x", hours_per_week=3, weeks=1)) == []


@pytest.mark.parametrize("hours", [0, -1, math.nan, math.inf, 10_000])
def test_hours_are_more_than_nothing_and_no_more_than_can_be_stored(hours: float) -> None:
    found = problems(outline(concept("a", hours=hours)), Brief(goal="x", hours_per_week=1, weeks=1))
    assert found == [f"The concept 'a' takes {hours:g} hours; it must take more than 0, and at most 9999."]


@pytest.mark.parametrize(("hours", "stored"), [(0.333, 0.33), (2.666, 2.67), (0.001, 0.01), (9999, 9999)])
def test_hours_are_those_that_will_be_stored(hours: float, stored: float) -> None:
    made = outline(concept("a", hours=hours))
    assert made.hours == stored
    assert problems(made, Brief(goal="x")) == []


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Outline(title="T", summary="S", stages=[]), "The outline has no stages."),
        (Outline(title=" ", summary="S", stages=outline(concept("a")).stages), "The outline has no title."),
        (
            Outline(title="T", summary="S", stages=[Stage(title="A", summary="", concepts=[concept("a")])]),
            "Stage 1 has no summary.",
        ),
        (outline(concept("a", title="")), "The concept 'a' has no title."),
        (
            outline(concept("a", title="x" * 201)),
            f"The concept 'a' has a title of 201 characters; at most {LONGEST_NAME} are allowed.",
        ),
        (
            outline(concept("a"), concept("a", title="Other")),
            "The key 'a' is there 2 times; it must be unique.",
        ),
        (
            outline(concept("a", title="Same"), concept("b", title="SAME")),
            "The title of a concept 'same' is there 2 times; it must be unique.",
        ),
        (
            Outline(
                title="T", summary="S", stages=[*outline(concept("a")).stages, *outline(concept("b")).stages]
            ),
            "The title of a stage 'first' is there 2 times; it must be unique.",
        ),
        (
            outline(*(concept(f"k{number}") for number in range(MOST_CONCEPTS + 1))),
            f"The outline has {MOST_CONCEPTS + 1} concepts; at most {MOST_CONCEPTS} are allowed.",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_each_other_problem_is_one_sentence(made: Outline, said: str) -> None:
    assert problems(made, ANY) == [said]


@pytest.mark.parametrize("key", ["", "A", "a b", "-a", "a--b", "a/b", "../x", "x" * 65, "ä"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    found = problems(outline(concept(key, title="A")), ANY)
    assert len(found) == 1
    assert found[0].startswith(f"The key {key!r} is not one")
