"""A model's server that misbehaves as told, and an author that asks it."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from roadmap.runs.authors.llm import LlmAuthor
from tests.fake_openai import FakeOpenAI

Asking = Callable[..., contextlib.AbstractAsyncContextManager[tuple[LlmAuthor, FakeOpenAI]]]


@contextlib.asynccontextmanager
async def ask(**options: Any) -> AsyncIterator[tuple[LlmAuthor, FakeOpenAI]]:
    async with FakeOpenAI().running() as fake:
        given = {"timeout": 10, "max_concurrency": 8, "first_backoff": 0.01, **options}
        author = LlmAuthor("a-model", fake.url, "sk-secret", **given)
        try:
            yield author, fake
        finally:
            await author.close()


@pytest.fixture
def asking() -> Asking:
    """`async with asking() as (author, fake)`"""
    return ask
