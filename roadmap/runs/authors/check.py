"""The check of an outline in plain code: every problem is one sentence, which its author can work with."""

import re
from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from roadmap.runs.authors.base import Brief, Concept, Outline

MOST_CONCEPTS = 60  # each is a lesson to write
MOST_HOURS = 9999  # of a concept, as its row can hold
LONGEST_NAME = 200  # characters of a title
LONGEST_SUMMARY = 2000
KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_KEY = 64


def problems(outline: Outline, brief: Brief) -> list[str]:
    """What is wrong with an outline; empty when it is good."""
    return [
        *_texts(outline),
        *_names(outline),
        *_hours(outline, brief),
        *_prerequisites(outline.concepts),
    ]


def _texts(outline: Outline) -> Iterable[str]:
    yield from _text("The outline", outline.title, outline.summary)
    if not outline.stages:
        yield "The outline has no stages."
    for number, stage in enumerate(outline.stages, 1):
        yield from _text(f"Stage {number}", stage.title, stage.summary)
        if not stage.concepts:
            yield f"Stage {number} has no concepts."
    for concept in outline.concepts:
        yield from _text(f"The concept {concept.key!r}", concept.title, concept.summary)
        if not KEY.fullmatch(concept.key) or len(concept.key) > LONGEST_KEY:
            yield (
                f"The key {concept.key!r} is not one: it takes lowercase letters, digits and single hyphens "
                f"between them, at most {LONGEST_KEY}."
            )
    if len(outline.concepts) > MOST_CONCEPTS:
        yield f"The outline has {len(outline.concepts)} concepts; at most {MOST_CONCEPTS} are allowed."


def _text(what: str, title: str, summary: str) -> Iterable[str]:
    for name, text, longest in (("title", title, LONGEST_NAME), ("summary", summary, LONGEST_SUMMARY)):
        if not text.strip():
            yield f"{what} has no {name}."
        elif len(text) > longest:
            yield f"{what} has a {name} of {len(text)} characters; at most {longest} are allowed."


def _names(outline: Outline) -> Iterable[str]:
    """Titles that differ in letter case only are the same to a reader."""
    for what, names in (
        ("key", [concept.key for concept in outline.concepts]),
        ("title of a concept", [concept.title.strip().casefold() for concept in outline.concepts]),
        ("title of a stage", [stage.title.strip().casefold() for stage in outline.stages]),
    ):
        for name, times in Counter(names).items():
            if times > 1 and name:
                yield f"The {what} {name!r} is there {times} times; it must be unique."


def _hours(outline: Outline, brief: Brief) -> Iterable[str]:
    wrong = [concept for concept in outline.concepts if not 0 < concept.hours <= MOST_HOURS]
    for concept in wrong:
        yield (
            f"The concept {concept.key!r} takes {concept.hours:g} hours; it must take more than 0, and at most "
            f"{MOST_HOURS}."
        )
    # Sums of fractions are not exact.
    if not wrong and brief.hours is not None and outline.hours > brief.hours + 1e-6:
        yield (
            f"The concepts take {outline.hours:g} hours together, but there are only {brief.hours}: "
            f"{brief.hours_per_week} a week for {brief.weeks} weeks."
        )


def _prerequisites(concepts: list[Concept]) -> Iterable[str]:
    keys = {concept.key for concept in concepts}
    for concept in concepts:
        for missing in sorted(set(concept.prerequisites) - keys):
            yield f"The concept {concept.key!r} needs {missing!r}, which is not there."
    try:
        TopologicalSorter({concept.key: concept.prerequisites for concept in concepts}).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        yield f"The prerequisites go in a circle, each needs the next: {circle}."
