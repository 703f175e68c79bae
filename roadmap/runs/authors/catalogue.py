"""The built-in catalogue: six topics in English, written by hand, for an installation without a model."""

import re

from roadmap.runs.authors.base import (
    AuthorError,
    Brief,
    Concept,
    Lesson,
    Outline,
    Stage,
    Understanding,
    UnknownGoal,
    Usage,
)
from roadmap.runs.authors.check import LONGEST_SUMMARY
from roadmap.runs.authors.topics import find, nearest, topics, words

SHORTER = 3 / 4  # of the hours, for each time that somebody asks for less

_SENTENCE = re.compile(r"[.;!?\n]+|\bbut\b", re.IGNORECASE)
_LEAVE_OUT = re.compile(
    r"\b(leave|leaving|skip|skipping|drop|dropping|remove|removing|omit|exclude|without|no|already know|not need)\b",
    re.IGNORECASE,
)
_KEEP = re.compile(
    r"\b(do not|don['’]t|never|keep|not) (leave|skip|drop|remove|omit|exclude)\b|\bkeep\b", re.IGNORECASE
)
_LESS = re.compile(
    r"\b(shorter|shorten|fewer hours|less time|too long|too much|fewer concepts)\b", re.IGNORECASE
)
_AT_MOST = re.compile(
    r"\b(?:at most|no more than|up to|in|within|only|under|to)\s+(\d{1,4})\s*(?:h|hours?)\b", re.IGNORECASE
)


class Catalogue:
    name = "catalogue"

    async def understand(self, brief: Brief, *, usage: Usage | None = None) -> Understanding:
        match = find(brief.goal)
        if match is None:
            raise UnknownGoal(brief.goal, nearest(brief.goal))
        return {
            "topic": match.topic.outline.title,
            "name": match.topic.name,
            "unmatched": list(match.unmatched),
        }

    async def outline(
        self,
        brief: Brief,
        understanding: Understanding,
        feedback: list[str],
        previous: Outline | None,
        problems: list[str],
        *,
        usage: Usage | None = None,
    ) -> Outline:
        """Made anew from the topic and all of the feedback, so `previous` and `problems` change nothing."""
        if understanding.get("name") not in topics():  # a model's, which is no longer set
            understanding = await self.understand(brief)
        topic = topics()[understanding["name"]]
        edition = Edition(topic.outline)
        for text in feedback:
            edition.revise(text)
        if brief.hours is not None and edition.hours > brief.hours:
            left_out = edition.fit(brief.hours)
            edition.notes.append(
                f"To fit the {brief.hours} hours that there are, these are left out: {', '.join(left_out)}."
            )
        edition.notes += _limits(brief, understanding)
        return edition.outline()

    async def lesson(
        self, brief: Brief, outline: Outline, concept_key: str, *, usage: Usage | None = None
    ) -> Lesson:
        outline.concept(concept_key)
        for topic in topics().values():  # a key is in one topic only
            if concept_key in topic.resources:
                return Lesson(markdown=topic.lesson(concept_key), resources=topic.resources[concept_key])
        # A model's outline, and the model is no longer set.
        raise AuthorError("The built-in catalogue has no lesson for this concept.")


class Edition:
    """A topic's outline while concepts are left out of it."""

    def __init__(self, outline: Outline):
        self._whole = outline
        self._concepts = {concept.key: concept for concept in outline.concepts}
        self.notes: list[str] = []

    @property
    def hours(self) -> float:
        return sum(concept.hours for concept in self._concepts.values())

    def outline(self) -> Outline:
        stages = []
        for stage in self._whole.stages:
            concepts = [self._concepts[one.key] for one in stage.concepts if one.key in self._concepts]
            if concepts:
                stages.append(Stage(title=stage.title, summary=stage.summary, concepts=concepts))
        notes = list(self.notes)
        while len(summary := " ".join([self._whole.summary, *notes])) > LONGEST_SUMMARY:
            del notes[0]
        return Outline(title=self._whole.title, summary=summary, stages=stages)

    def revise(self, text: str) -> None:
        """Do what the feedback asks for, as far as it is understood, and note what was done."""
        done = []
        if named := self._to_leave_out(text):
            for key in named[: len(self._concepts) - 1]:  # one is left, whatever is asked for
                done.append(self._concepts[key].title)
                self._leave_out(key)
        if hours := self._hours_wanted(text):
            done += self.fit(hours)
        if done:
            self.notes.append(f"At your wish, these are left out: {', '.join(done)}.")
        else:
            self.notes.append(
                f"Your remark “{_short(text)}” changed nothing: the built-in catalogue can only be made shorter, or "
                "leave out concepts that you name."
            )

    def fit(self, hours: float) -> list[str]:
        """Leave out concepts that nothing else needs, the last first, until the rest fits or one is left.

        Returns their titles.
        """
        left_out = []
        while self.hours > hours and len(self._concepts) > 1:
            needed = {key for concept in self._concepts.values() for key in concept.prerequisites}
            last = next(key for key in reversed(self._concepts) if key not in needed)
            left_out.append(self._concepts.pop(last).title)
        return left_out

    def _leave_out(self, key: str) -> None:
        """Whoever leaves a concept out knows it, so what needed it needs what it needed."""
        gone = self._concepts.pop(key)
        self._concepts = {
            other: _without(concept, gone) if key in concept.prerequisites else concept
            for other, concept in self._concepts.items()
        }

    def _to_leave_out(self, text: str) -> list[str]:
        found: list[str] = []
        for sentence in _SENTENCE.split(text):
            verb = _LEAVE_OUT.search(sentence)
            if verb is None or _KEEP.search(sentence):
                continue
            said = words(sentence[verb.end() :])
            found += [
                key for key, concept in self._concepts.items() if _names(said, concept) and key not in found
            ]
        return found

    def _hours_wanted(self, text: str) -> float | None:
        if most := _AT_MOST.search(text):
            return float(most[1])
        return self.hours * SHORTER if _LESS.search(text) else None


def _without(concept: Concept, gone: Concept) -> Concept:
    needs = dict.fromkeys(
        key for one in concept.prerequisites for key in (gone.prerequisites if one == gone.key else [one])
    )
    return concept.model_copy(update={"prerequisites": list(needs)})


def _names(said: list[str], concept: Concept) -> bool:
    """Whether its title or its key is there word for word."""
    names = (words(concept.title), words(concept.key.replace("-", " ")))
    return any(
        said[start : start + len(name)] == name
        for name in names
        for start in range(len(said) - len(name) + 1)
    )


def _limits(brief: Brief, understanding: Understanding) -> list[str]:
    """What the catalogue cannot do for this brief."""
    limits = []
    if unmatched := understanding["unmatched"]:
        limits.append(f"Of your goal, the built-in catalogue has nothing about: {', '.join(unmatched[:8])}.")
    if brief.level:
        limits.append("The built-in catalogue has one version of each topic, for every level.")
    if brief.language.split("-")[0].casefold() != "en":
        limits.append("The built-in catalogue is in English only.")
    return limits


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
