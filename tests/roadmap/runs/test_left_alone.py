"""A model's server that wants to be left alone is, also between two tries of a lesson."""

import asyncio
import time

import pytest
from langgraph.runtime import Runtime

from roadmap.runs import nodes
from roadmap.runs.authors import retries
from roadmap.runs.authors.llm import LlmAuthor
from tests.fake_openai import FakeOpenAI

GOAL = "Learn to juggle"


def write(fault: dict[str, object]) -> tuple[nodes.Draft, FakeOpenAI, float]:
    """What became of a lesson, what was asked for it, and how many seconds it took."""

    async def work() -> tuple[nodes.Draft, FakeOpenAI, float]:
        async with FakeOpenAI().running() as fake:
            fake.fault("status", step="lesson", status=429, **fault)  # type: ignore[arg-type]
            author = LlmAuthor("a-model", fake.url, "a key", timeout=10, max_concurrency=8)
            commission = nodes.Commission(
                brief={"goal": GOAL, "language": "en"}, outline=fake.outline(GOAL), key="c2"
            )
            began = time.monotonic()
            try:
                draft = await nodes.write(commission, Runtime(context=nodes.Tools(author, frozenset())))
            finally:
                await author.close()
            return draft, fake, time.monotonic() - began

    return asyncio.run(work())


def test_a_lesson_waits_for_as_long_as_the_server_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "ATTEMPTS", 1)  # so that it is the lesson that waits, and not the author
    draft, fake, took = write({"retry_after": "3"})
    assert list(draft["lessons"]) == ["c2"]
    assert fake.requests == 2
    assert took >= 3


def test_a_lesson_is_a_gap_at_once_where_the_server_wants_longer_than_one_can_wait() -> None:
    draft, fake, took = write({"retry_after": "600", "times": None})
    assert "wants to be left alone for 600 s" in draft["gaps"]["c2"]
    assert fake.requests == 1
    assert took < 10
