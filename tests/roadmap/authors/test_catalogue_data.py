"""The catalogue's data files: complete, of substance, and their code runs."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from roadmap.runs.authors.base import Brief
from roadmap.runs.authors.check import problems
from roadmap.runs.authors.topics import FOLDER, Topic, topics
from tests.temporary_postgres import temporary_postgres

ALL = list(topics().values())
LESSONS = [(topic, concept.key) for topic in ALL for concept in topic.outline.concepts]
every_topic = pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
every_lesson = pytest.mark.parametrize(("topic", "key"), LESSONS, ids=[key for _, key in LESSONS])


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_there_are_six_topics_and_keys_are_unique_among_them() -> None:
    assert len(ALL) == 6
    assert {"Running PostgreSQL", "Django"} <= {topic.outline.title for topic in ALL}
    assert [key for key, times in Counter(key for _, key in LESSONS).items() if times > 1] == []


@every_topic
def test_a_topic_is_a_good_outline_in_the_order_of_learning(topic: Topic) -> None:
    concepts = topic.outline.concepts
    assert problems(topic.outline, Brief(goal="x")) == []
    assert 8 <= len(concepts) <= 12
    assert concepts[0].prerequisites == []
    assert concepts[0].hours <= 1  # what the smallest of briefs has time for
    before: set[str] = set()
    for concept in concepts:
        assert set(concept.prerequisites) <= before, concept.key
        before.add(concept.key)
    assert sum(bool(concept.prerequisites) for concept in concepts) >= len(concepts) - 1
    assert {path.stem for path in (FOLDER / topic.name).glob("*.md")} == before


@every_lesson
def test_a_lesson_has_substance_examples_and_an_exercise(topic: Topic, key: str) -> None:
    text = topic.lesson(key)
    assert 350 <= len(text.split()) <= 700
    assert text.count("\n## Exercise\n") == 1
    assert text.count("```") % 2 == 0
    assert text.count("```") >= 2
    assert not text.startswith("#")


@every_lesson
def test_a_lesson_leads_on_to_references(topic: Topic, key: str) -> None:
    assert topic.resources[key]
    for resource in topic.resources[key]:
        assert resource.title
        assert urlsplit(resource.url).scheme == "https"


@every_lesson
def test_python_in_a_lesson_is_python(topic: Topic, key: str) -> None:
    for code in blocks(topic.lesson(key), "python"):
        assert compile(code, f"{key}.md", "exec")


@pytest.mark.parametrize(
    "key", [key for topic, key in LESSONS if topic.name == "python" and key != "py-tests"]
)
def test_the_examples_about_python_run(key: str, tmp_path: Path) -> None:
    # One after the other in one program, as a reader would type them; the question of the first lesson gets a 3.
    program = "\n".join(blocks(topics()["python"].lesson(key), "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        input="3\n",
    )
    assert done.returncode == 0, done.stderr


def test_the_tests_in_the_lesson_about_tests_pass(tmp_path: Path) -> None:
    program, tests, fixtures = blocks(topics()["python"].lesson("py-tests"), "python")
    (tmp_path / "pace.py").write_text(program)
    (tmp_path / "test_pace.py").write_text(tests)
    (tmp_path / "test_diary.py").write_text(fixtures)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", "."],
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert done.stdout.splitlines()[-1].startswith("5 passed"), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["sql", "postgresql"])
def test_the_examples_in_sql_run_in_the_order_of_the_lessons(name: str) -> None:
    topic, done = topics()[name], 0
    with (
        temporary_postgres(settings={"fsync": "off"}) as server,
        psycopg.connect(server.dsn("postgres", superuser=True), autocommit=True) as connection,
    ):
        for concept in topic.outline.concepts:
            for example in blocks(topic.lesson(concept.key), "sql"):
                # Each statement by itself: an index that is made concurrently allows no transaction around it.
                for statement in filter(None, map(str.strip, re.sub(r"--.*", "", example).split(";"))):
                    if statement != "SELECT pg_promote()":  # that is for a standby
                        connection.execute(statement.encode())
                        done += 1
    assert done >= 30
