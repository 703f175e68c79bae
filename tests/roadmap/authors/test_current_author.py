"""Which author a process has, and what its settings take."""

import asyncio
from typing import Any

import pytest

from roadmap.environment import BadValue, Reader
from roadmap.runs import authors
from tests.fake_openai import FakeOpenAI


def test_without_a_model_it_is_the_catalogue_anywhere(settings: Any) -> None:
    settings.LLM_MODEL = ""

    async def name() -> str:
        async with authors.opened() as author:
            return author.name

    assert authors.current_author().name == asyncio.run(name()) == "catalogue"


def test_with_a_model_it_is_open_in_one_loop_at_a_time(settings: Any) -> None:
    settings.LLM_MODEL, settings.LLM_API_KEY = "a-model", ""

    async def topic() -> str:
        async with FakeOpenAI().running() as fake:
            settings.LLM_BASE_URL = fake.url
            async with authors.opened() as author:
                assert authors.current_author() is author
                assert author.name == "llm"
                return str((await author.understand(authors.Brief(goal="juggle")))["topic"])

    # A second loop gets a client of its own.
    assert [asyncio.run(topic()) for _ in range(2)] == ["The topic of juggle"] * 2
    with pytest.raises(authors.NotOpen, match="is not open in this process"):
        authors.current_author()


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("", ""),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("https://x.example/", "https://x.example"),
    ],
)
def test_an_address_is_taken(given: str, taken: str) -> None:
    assert Reader({"LLM_BASE_URL": given}, {"LLM_BASE_URL": ""}).address("LLM_BASE_URL") == taken


@pytest.mark.parametrize(
    "given", ["x.example", "ftp://x.example", "https://", "https://x.example/?key=secret", "http://a b"]
)
def test_what_is_no_address_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(BadValue, match=r"^LLM_BASE_URL is '…'; it takes an address with http:// or https://"):
        Reader({"LLM_BASE_URL": given}, {"LLM_BASE_URL": ""}).address("LLM_BASE_URL")
