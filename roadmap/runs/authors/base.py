"""What authors take and give: plain data, and the errors that they raise.

The models go to and from plain data, as checkpoints and rows need it, with `model_dump()` and `model_validate()`.
They are also what a language model is asked to fill in, so their descriptions are written for it.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# PostgreSQL stores no NUL and no half of a character, neither in text nor in a checkpoint; the other control characters
# mean nothing in a lesson.
_UNWANTED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    return _UNWANTED.sub("", text).strip()


Text = Annotated[str, AfterValidator(clean)]

LONGEST_WAIT = 120.0  # seconds; an author that wants more is taken at its word, and not asked again


def hundredths(hours: float) -> float:
    """As they are stored, so that what is checked and shown is what is stored; a little is not nothing."""
    return max(round(hours, 2), 0.01) if hours > 0 else hours


Hours = Annotated[float, AfterValidator(hundredths)]

# What `understand` found out about a goal; its `topic` is a name for people, the rest is the author's own.
Understanding = dict[str, Any]


class Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class Brief(Plain):
    """What a person wants to learn, and the time that there is for it."""

    goal: Text
    level: Text = ""
    hours_per_week: int | None = None
    weeks: int | None = None
    language: str = "en"

    @property
    def hours(self) -> int | None:
        """The hours that there are in all; None where the person did not say."""
        if self.hours_per_week is None or self.weeks is None:
            return None
        return self.hours_per_week * self.weeks


class Concept(Plain):
    key: Text = Field(description="a short unique name in lowercase ASCII letters, digits and hyphens")
    title: Text
    summary: Text = Field(description="one or two sentences: what one can do after it")
    hours: Hours = Field(description="hours of study, more than 0")
    prerequisites: list[Text] = Field(
        description="keys of the concepts to know before this one; never in a circle"
    )


class Stage(Plain):
    title: Text
    summary: Text
    concepts: list[Concept]


class Outline(Plain):
    title: Text
    summary: Text
    stages: list[Stage]

    @property
    def concepts(self) -> list[Concept]:
        return [concept for stage in self.stages for concept in stage.concepts]

    @property
    def hours(self) -> float:
        return sum(concept.hours for concept in self.concepts)

    def concept(self, key: str) -> Concept:
        """Raises KeyError: there is none of that key."""
        for concept in self.concepts:
            if concept.key == key:
                return concept
        raise KeyError(key)


class Resource(Plain):
    title: Text
    url: Text = Field(description="an address that you are certain of, with https://")


class Lesson(Plain):
    markdown: Text = Field(description="the lesson in Markdown, without its title")
    resources: list[Resource]


@dataclass
class Usage:
    """What calls to a model cost; it is right after an error too."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class AuthorError(Exception):
    """An author could not do what was asked; the text is one sentence for the person who asked.

    `temporary` tells whether the same call may succeed later, and `retry_after` how many seconds later at the earliest;
    0 where nobody said.
    """

    def __init__(self, message: str, *, temporary: bool = False, retry_after: float = 0.0):
        super().__init__(message)
        self.temporary = temporary
        self.retry_after = retry_after


class UnknownGoal(AuthorError):
    """The author has nothing for a goal; `nearest` are the titles of at least three topics that it has."""

    def __init__(self, goal: str, nearest: list[str]):
        first, last = ", ".join(nearest[:-1]), nearest[-1]
        super().__init__(
            f"The built-in catalogue has no topic for {goal!r}; the nearest are {first} and {last}."
        )
        self.goal = goal
        self.nearest = nearest


class Author(Protocol):
    """Every method may raise AuthorError. `usage`, where it is given, is added to."""

    name: str

    async def understand(self, brief: Brief, *, usage: Usage | None = None) -> Understanding:
        """What the goal is about; it has at least `topic`.

        Raises:
            UnknownGoal: the author has nothing for it.
        """

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
        """An outline that follows all `feedback` so far, the oldest first.

        `previous` is the outline that the last feedback or the `problems` (of `check.problems`) are about.
        """

    async def lesson(
        self, brief: Brief, outline: Outline, concept_key: str, *, usage: Usage | None = None
    ) -> Lesson:
        """The lesson of one concept.

        Raises:
            KeyError: the outline has no such concept.
        """
