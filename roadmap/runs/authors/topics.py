"""The topics of the built-in catalogue, read from their data files, and which of them a goal means."""

import difflib
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from roadmap.runs.authors.base import Outline, Resource

FOLDER = Path(__file__).parent / "topics"


@dataclass(frozen=True)
class Topic:
    """`aliases` are the names that a goal may call it by, `words` more of its vocabulary."""

    name: str
    aliases: tuple[str, ...]
    words: frozenset[str]
    outline: Outline
    resources: dict[str, list[Resource]]

    def lesson(self, key: str) -> str:
        return (FOLDER / self.name / f"{key}.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Match:
    """The topic of a goal, and the words of the goal that it says nothing about."""

    topic: Topic
    unmatched: tuple[str, ...]


@cache
def topics() -> dict[str, Topic]:
    """All topics by name; of two that fit a goal equally well the first is meant."""
    return {name: _read(name) for name in index()["topics"]}


@cache
def plain_words() -> frozenset[str]:
    """Words of a goal that say nothing about its topic."""
    return frozenset(words(index()["plain_words"]))


@cache
def index() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "index.toml").read_text(encoding="utf-8"))


def _read(name: str) -> Topic:
    told = tomllib.loads((FOLDER / name / "topic.toml").read_text(encoding="utf-8"))
    outline = Outline.model_validate(told)
    concepts = [concept for stage in told["stages"] for concept in stage["concepts"]]
    vocabulary = " ".join(
        [*told["aliases"], told["words"], told["title"], *(concept["title"] for concept in concepts)]
    )
    return Topic(
        name=name,
        aliases=tuple(told["aliases"]),
        words=frozenset(words(vocabulary)),
        outline=outline,
        resources={
            concept["key"]: [Resource.model_validate(one) for one in concept["resources"]]
            for concept in concepts
        },
    )


def words(text: str) -> list[str]:
    """The words of a text without case and accents; `c++`, `c#` and `.net` are words too."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return re.findall(r"\.?[^\W_]+(?:'[^\W_]+)?[+#]*", plain.casefold().replace("’", "'"))


def find(goal: str) -> Match | None:
    """The topic that a goal names, None where it names none.

    Of several the one with more of the goal's words in its vocabulary, then the first of the catalogue.
    """
    said = words(goal)
    fitting = [
        topic for topic in topics().values() if any(_has(said, words(alias)) for alias in topic.aliases)
    ]
    if not fitting:
        return None
    best = max(fitting, key=lambda topic: len(topic.words.intersection(said)))
    unmatched = dict.fromkeys(word for word in said if word not in best.words and word not in plain_words())
    return Match(best, tuple(unmatched))


def _has(said: list[str], alias: list[str]) -> bool:
    return any(said[start : start + len(alias)] == alias for start in range(len(said)))


def nearest(goal: str, count: int = 3) -> list[str]:
    """The titles of the topics whose vocabulary is most like a goal, the nearest first."""
    said = [word for word in words(goal) if word not in plain_words()]

    def likeness(topic: Topic) -> float:
        return sum(_likeness(word, topic.words) for word in said)

    found = sorted(topics().values(), key=likeness, reverse=True)
    return [topic.outline.title for topic in found[:count]]


def _likeness(word: str, vocabulary: frozenset[str]) -> float:
    return max(difflib.SequenceMatcher(None, word, other).ratio() ** 3 for other in vocabulary)
