"""Who writes roadmaps: a language model where `LLM_MODEL` names one, else the built-in catalogue."""

import contextlib
from collections.abc import AsyncIterator

from django.conf import settings

from roadmap.runs.authors.base import (
    Author,
    AuthorError,
    Brief,
    Concept,
    Lesson,
    Outline,
    Resource,
    Stage,
    Understanding,
    UnknownGoal,
    Usage,
)
from roadmap.runs.authors.catalogue import Catalogue
from roadmap.runs.authors.check import problems

__all__ = [
    "Author",
    "AuthorError",
    "Brief",
    "Concept",
    "Lesson",
    "Outline",
    "Resource",
    "Stage",
    "Understanding",
    "UnknownGoal",
    "Usage",
    "current_author",
    "opened",
    "problems",
]

_author: Author | None = None


class NotOpen(RuntimeError):
    """This process has no author open."""


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Author]:
    """Make this process's author in the running loop, for as long as the block."""
    global _author
    if not settings.LLM_MODEL:
        yield Catalogue()
        return
    # Imported only where it is used: it takes seconds and a hundred megabytes.
    from roadmap.runs.authors.llm import LlmAuthor

    author = LlmAuthor(
        settings.LLM_MODEL,
        settings.LLM_BASE_URL,
        settings.LLM_API_KEY,
        timeout=settings.LLM_TIMEOUT,
        max_concurrency=settings.LLM_MAX_CONCURRENCY,
    )
    _author = author
    try:
        yield author
    finally:
        _author = None
        await author.close()


def current_author() -> Author:
    """This process's author; the catalogue needs no `opened()`.

    Raises:
        NotOpen: a model is set, and this is outside `opened()`.
    """
    if not settings.LLM_MODEL:
        return Catalogue()
    if _author is None:
        raise NotOpen("The author that asks a model is not open in this process.")
    return _author
