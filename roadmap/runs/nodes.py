"""The steps of a run. They take and return plain data, and ask the author; nothing here knows of a database.

An author that cannot do what it is asked ends a draft with `failed`, one sentence for the person who asked. A
lesson that cannot be written is left out, and the others are written.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from langgraph.runtime import Runtime
from langgraph.types import interrupt

from roadmap.runs.authors.base import LONGEST_WAIT, Author, AuthorError, Brief, Outline, Usage
from roadmap.runs.authors.check import problems

LESSONS_AT_ONCE = 4  # of one run
ROUNDS = 3  # of repair, for each outline
TRIES = 3  # for each lesson
PAUSE = 1.0  # seconds before the second try, at least; it doubles

logger = logging.getLogger(__name__)


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    return {**(old or {}), **new}


class Draft(TypedDict, total=False):
    """What a run knows, and a checkpoint holds.

    Attributes:
        outline: of `authors.base.Outline`.
        feedback: everything that reviews have asked for, the oldest first.
        rounds: of repair that this outline has had.
        problems: what the check found.
        failed: why the run cannot go on.
        unwritten: the keys of the concepts to write, once approved.
        lessons, gaps: by key.
        tokens: what the last step took, to and from the model.
    """

    brief: dict[str, Any]
    understanding: dict[str, Any]
    outline: dict[str, Any] | None
    feedback: list[str]
    rounds: int
    problems: list[str]
    failed: str
    approved: bool
    unwritten: list[str]
    lessons: Annotated[dict[str, dict[str, Any]], merged]
    gaps: Annotated[dict[str, str], merged]
    tokens: Annotated[dict[str, int], merged]


@dataclass(frozen=True)
class Tools:
    """What the steps work with; it is given to a run and in no checkpoint.

    Attributes:
        written: the keys of the lessons that the rows have already. A crash may have lost them from the checkpoint.
        places: bounds the lessons written at once. LangGraph's own `max_concurrency` would bound the saver's writes
            with them: a lesson would be saved only once all others have been begun.
    """

    author: Author
    written: frozenset[str]
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LESSONS_AT_ONCE))


class Commission(TypedDict):
    """One lesson to write."""

    brief: dict[str, Any]
    outline: dict[str, Any]
    key: str


def tokens(usage: Usage) -> dict[str, int]:
    return {"in": usage.input_tokens, "out": usage.output_tokens}


async def understand(draft: Draft, runtime: Runtime[Tools]) -> Draft:
    usage = Usage()
    try:
        found = await runtime.context.author.understand(Brief(**draft["brief"]), usage=usage)
    except AuthorError as error:
        return {"failed": str(error), "tokens": tokens(usage)}
    return {"understanding": found, "tokens": tokens(usage)}


async def outline(draft: Draft, runtime: Runtime[Tools]) -> Draft:
    """The first outline, one that follows the last review, or one without the problems of the last."""
    usage = Usage()
    author, brief = runtime.context.author, Brief(**draft["brief"])
    previous = draft.get("outline")
    found = draft.get("problems", [])
    try:
        understanding = draft.get("understanding") or await author.understand(brief, usage=usage)
        made = await author.outline(
            brief,
            understanding,
            draft.get("feedback", []),
            Outline.model_validate(previous) if previous else None,
            found,
            usage=usage,
        )
    except AuthorError as error:
        return {"failed": str(error), "tokens": tokens(usage)}
    return {
        "understanding": understanding,
        "outline": made.model_dump(),
        "rounds": draft.get("rounds", 0) + 1 if found else 0,
        "tokens": tokens(usage),
    }


async def check(draft: Draft) -> Draft:
    found = problems(Outline.model_validate(draft["outline"]), Brief(**draft["brief"]))
    if found and draft["rounds"] >= ROUNDS:
        return {"failed": f"The outline was not good enough after {ROUNDS} repairs: {found[0]}"}
    return {"problems": found}


async def review(draft: Draft) -> Draft:
    """Wait for a person. It runs again from the top when the answer comes, so nothing may come before."""
    decision = interrupt("review")
    if decision["decision"] == "approve":
        keys = [c.key for c in Outline.model_validate(draft["outline"]).concepts]
        return {"approved": True, "unwritten": keys}
    return {"feedback": [*draft.get("feedback", []), decision["feedback"]]}


async def write(commission: Commission, runtime: Runtime[Tools]) -> Draft:
    """One lesson, or the reason why there is none."""
    key, tools = commission["key"], runtime.context
    if key in tools.written:
        return {}
    brief, outline, usage = (
        Brief(**commission["brief"]),
        Outline.model_validate(commission["outline"]),
        Usage(),
    )
    wait = 0.0
    for number in range(TRIES):
        if number:
            await asyncio.sleep(max(wait, PAUSE * 2 ** (number - 1)))
        try:
            async with tools.places:
                lesson = await tools.author.lesson(brief, outline, key, usage=usage)
        except AuthorError as error:
            reason, wait = str(error), error.retry_after
            if not error.temporary or wait > LONGEST_WAIT:
                break
        except Exception:
            # Whatever it is, the other lessons must not be lost by it.
            logger.exception("the lesson %r could not be written", key)
            reason, wait = "The lesson could not be written because of a fault on our side.", 0.0
        else:
            if lesson.markdown:
                return {"lessons": {key: lesson.model_dump()}, "tokens": tokens(usage)}
            reason, wait = "The author gave an empty lesson.", 0.0
    return {"gaps": {key: reason}, "tokens": tokens(usage)}


async def finish(draft: Draft) -> Draft:
    """Where the lessons meet."""
    return {"unwritten": []}
