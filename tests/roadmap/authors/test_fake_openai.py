"""The fake model as a process of its own, as tests of whole runs use it."""

import asyncio

import pytest

from roadmap.runs.authors.base import AuthorError, Brief, Usage
from roadmap.runs.authors.check import problems
from roadmap.runs.authors.llm import LlmAuthor
from tests.fake_openai_process import fake_openai_process


def test_it_is_told_and_asked_over_http() -> None:
    brief = Brief(goal="juggle")

    async def write(url: str) -> tuple[list[str], Usage]:
        usage = Usage()
        author = LlmAuthor("m", url, "", timeout=10, max_concurrency=4, first_backoff=0.01)
        circle = await author.outline(brief, {"topic": "x"}, [], None, [], usage=usage)
        found = problems(circle, brief)
        good = await author.outline(brief, {"topic": "x"}, [], circle, found, usage=usage)
        assert problems(good, brief) == []
        with pytest.raises(AuthorError):
            await author.lesson(brief, good, "c2", usage=usage)
        await asyncio.gather(*(author.lesson(brief, good, key, usage=usage) for key in ("c1", "c2", "c3")))
        await author.close()
        return found, usage

    with fake_openai_process() as fake:
        fake.settings(stages=1, concepts=3)
        fake.fault("circle")
        fake.fault("status", status=401, concept="c2")
        found, usage = asyncio.run(write(fake.url))
        asked = fake.asked()
        fake.reset()
        assert fake.asked()["requests"] == 0
    assert found == ["The prerequisites go in a circle, each needs the next: c1 → c3 → c2 → c1."]
    assert asked["steps"] == {"outline": 2, "lesson": 4}
    assert asked["lessons"] == {"juggle/c1": 1, "juggle/c2": 2, "juggle/c3": 1}
    assert asked["answered"] == usage.output_tokens / 50 == 5
