"""Which topic of the catalogue a goal means, and what somebody reads whose goal it does not know."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmap.runs.authors.base import Brief, UnknownGoal
from roadmap.runs.authors.catalogue import Catalogue
from roadmap.runs.authors.topics import find, topics

TITLES = [topic.outline.title for topic in topics().values()]


@pytest.mark.parametrize(
    ("goal", "topic"),
    [
        ("Running PostgreSQL", "postgresql"),
        ("I want to run Postgres in production", "postgresql"),
        ("postgres backups & replication!", "postgresql"),
        ("DJANGO", "django"),
        ("Build a web site with Django and PostgreSQL", "django"),
        ("Python and Django", "django"),
        ("learn Python from scratch", "python"),
        ("Ｐｙｔｈｏｎ", "python"),
        ("SQL", "sql"),
        ("learn SQL with Postgres", "sql"),
        ("relational databases", "sql"),
        ("git for beginners", "git"),
        ("version control", "git"),
        ("How does HTTP work?", "http"),
        ("understand the web", "http"),
        ("design a REST API", "http"),
    ],
)
def test_a_goal_is_understood(goal: str, topic: str) -> None:
    match = find(goal)
    assert match is not None
    assert match.topic.name == topic


@pytest.mark.parametrize("title", TITLES)
def test_each_topic_is_found_by_its_own_title(title: str) -> None:
    match = find(f"I want to learn {title}.")
    assert match is not None
    assert match.topic.outline.title == title
    assert match.unmatched == ()


@pytest.mark.parametrize(
    "goal",
    [
        "Rust",
        "the rest of my life",
        "pythons as pets",
        "digital photography",
        "NoSQL",
        "legit work",
        "",
        "…",
        "学ぶ",
    ],
)
def test_a_goal_that_it_does_not_know_gets_the_nearest_topics(goal: str) -> None:
    with pytest.raises(UnknownGoal) as caught:
        asyncio.run(Catalogue().understand(Brief(goal=goal)))
    nearest = caught.value.nearest
    assert len(nearest) == len(set(nearest)) == 3
    assert set(nearest) <= set(TITLES)
    assert str(caught.value) == (
        f"The built-in catalogue has no topic for {goal!r}; "
        f"the nearest are {nearest[0]}, {nearest[1]} and {nearest[2]}."
    )
    assert not caught.value.temporary


@pytest.mark.parametrize(
    ("goal", "first"),
    [
        ("databases", "Running PostgreSQL"),
        ("Djangoo", "Django"),
        ("Postgress", "Running PostgreSQL"),
        ("GitHub", "Git"),
    ],
)
def test_the_nearest_comes_first(goal: str, first: str) -> None:
    with pytest.raises(UnknownGoal) as caught:
        asyncio.run(Catalogue().understand(Brief(goal=goal)))
    assert caught.value.nearest[0] == first


def test_words_that_the_catalogue_knows_nothing_about_are_told() -> None:
    understanding = asyncio.run(
        Catalogue().understand(Brief(goal="Machine learning with Python for my flower shop"))
    )
    assert understanding == {"topic": "Python", "name": "python", "unmatched": ["machine", "flower", "shop"]}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_every_text_has_the_same_answer_each_time(goal: str) -> None:
    def answer() -> object:
        try:
            return asyncio.run(Catalogue().understand(Brief(goal=goal)))
        except UnknownGoal as error:
            return error.nearest

    first = answer()
    assert first
    assert answer() == first
