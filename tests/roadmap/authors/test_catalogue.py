"""What the built-in catalogue writes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmap.runs.authors.base import AuthorError, Brief, Outline, UnknownGoal
from roadmap.runs.authors.catalogue import Catalogue
from roadmap.runs.authors.check import problems
from roadmap.runs.authors.topics import topics

SQL = topics()["sql"].outline
REMARKS = [
    "shorter please",
    "at most 7 hours",
    "Skip Joins",
    "more pictures",
    "leave out window functions, subqueries and CTEs",
    "Drop Python, Models and migrations; Locks and waiting.",
]


def write(goal: str = "SQL", *feedback: str, **brief: object) -> Outline:
    async def written() -> Outline:
        asked = Brief(goal=goal, **brief)  # type: ignore[arg-type]
        author = Catalogue()
        return await author.outline(asked, await author.understand(asked), list(feedback), None, [])

    return asyncio.run(written())


def keys(outline: Outline) -> list[str]:
    return [concept.key for concept in outline.concepts]


def test_without_limits_it_is_the_whole_topic() -> None:
    assert write() == SQL


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["Django", "PostgreSQL", "Python", "SQL", "Git", "HTTP"]),
    st.one_of(st.none(), st.integers(1, 40)),
    st.one_of(st.none(), st.integers(1, 4)),
    st.lists(st.one_of(st.sampled_from(REMARKS), st.text(max_size=200)), max_size=12),
)
def test_whatever_is_asked_for_it_passes_the_check(
    goal: str, hours: int | None, weeks: int | None, feedback: list[str]
) -> None:
    outline = write(goal, *feedback, hours_per_week=hours, weeks=weeks)
    # Only somebody who leaves the first hour out and has but one can get too much.
    brief = Brief(goal=goal, hours_per_week=hours, weeks=weeks)
    if brief.hours is None or brief.hours >= 3 or not feedback:
        assert problems(outline, brief) == []
    assert outline.concepts


def test_a_small_budget_leaves_out_last_what_others_need() -> None:
    outline = write(hours_per_week=2, weeks=5)
    assert outline.hours <= 10
    assert keys(outline) == ["sql-tables", "sql-select", "sql-groups", "sql-keys", "sql-joins"]
    left_out = "Changes and transactions, Window functions, Subqueries and CTEs"
    assert outline.summary == (
        f"{SQL.summary} To fit the 10 hours that there are, these are left out: {left_out}."
    )


def test_a_single_hour_is_enough_to_begin() -> None:
    assert keys(write(hours_per_week=1, weeks=1)) == ["sql-tables"]


def test_a_concept_that_is_named_is_left_out_and_what_needed_it_needs_what_it_needed() -> None:
    outline = write("SQL", "I already know joins, and sql-groups. Keep the rest")
    assert keys(outline) == [key for key in keys(SQL) if key not in ("sql-joins", "sql-groups")]
    assert set(outline.concept("sql-subqueries").prerequisites) == {"sql-select", "sql-keys"}
    assert outline.summary == f"{SQL.summary} At your wish, these are left out: Groups and aggregates, Joins."


@pytest.mark.parametrize("remark", ["This is too long", "Please make it shorter.", "fewer hours"])
def test_less_means_three_quarters_each_time(remark: str) -> None:
    once, twice = write("SQL", remark), write("SQL", remark, remark)
    assert once.hours <= SQL.hours * 3 / 4
    assert twice.hours <= once.hours * 3 / 4
    assert once.summary.startswith(f"{SQL.summary} At your wish, these are left out: ")


def test_a_number_of_hours_is_kept() -> None:
    outline = write("SQL", "at most 6 hours, please")
    assert 1 <= outline.hours <= 6


@pytest.mark.parametrize(
    "remark",
    [
        "More about joins",
        "Do not leave out joins",
        "Keep joins, leave nothing out",
        "Please in verse",
        "leave out knitting",
    ],
)
def test_what_it_cannot_do_it_says(remark: str) -> None:
    outline = write("SQL", remark)
    assert outline.stages == SQL.stages
    assert outline.summary == (
        f"{SQL.summary} Your remark “{remark}” changed nothing: the built-in catalogue can only be made shorter, or "
        "leave out concepts that you name."
    )


def test_it_says_what_of_the_brief_it_cannot_follow() -> None:
    outline = write("SQL for archaeologists", level="expert", language="de")
    assert outline.stages == SQL.stages
    assert outline.summary.removeprefix(SQL.summary) == (
        " Of your goal, the built-in catalogue has nothing about: archaeologists."
        " The built-in catalogue has one version of each topic, for every level."
        " The built-in catalogue is in English only."
    )


def test_the_lesson_is_that_of_the_concept() -> None:
    async def written() -> tuple[str, list[str]]:
        author, brief = Catalogue(), Brief(goal="SQL")
        lesson = await author.lesson(brief, SQL, "sql-joins")
        with pytest.raises(KeyError, match="git-first"):
            await author.lesson(brief, SQL, "git-first")
        return lesson.markdown, [resource.url for resource in lesson.resources]

    text, urls = asyncio.run(written())
    assert text.startswith("A join puts rows of two tables together")
    assert "https://selectstarsql.com/" in urls


def test_what_a_model_has_begun_it_goes_on_with_as_far_as_it_can() -> None:
    """The model is no longer set: its understanding and its concepts are none of the catalogue's."""
    concept = SQL.concepts[0].model_copy(update={"key": "a-models"})
    models = SQL.model_copy(update={"stages": [SQL.stages[0].model_copy(update={"concepts": [concept]})]})

    async def go_on() -> Outline:
        author, understanding = Catalogue(), {"topic": "as the model has it"}
        with pytest.raises(AuthorError, match="no lesson for this concept"):
            await author.lesson(Brief(goal="SQL"), models, "a-models")
        with pytest.raises(UnknownGoal):
            await author.outline(Brief(goal="knitting"), understanding, ["less"], models, [])
        return await author.outline(Brief(goal="SQL"), understanding, [], models, [])

    assert asyncio.run(go_on()).stages == SQL.stages


def test_after_many_remarks_the_summary_tells_of_the_last_ones() -> None:
    outline = write("SQL", *(f"Please in verse, number {number}" for number in range(40)))
    assert problems(outline, Brief(goal="SQL")) == []
    assert "number 39" in outline.summary
    assert "number 0”" not in outline.summary


def test_who_leaves_everything_out_keeps_one_concept() -> None:
    outline = write("SQL", f"Leave out {', '.join(concept.title for concept in SQL.concepts)}")
    assert keys(outline) == ["sql-changes"]
    assert outline.concepts[0].prerequisites == []
    assert problems(outline, Brief(goal="SQL")) == []
