"""A stream ends when there is nothing more to read for its reader: in order, and soon."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.client import run
from tests.people import sign_in
from tests.roadmap.runs.sse import Reader
from tests.service import query, wait_until

pytestmark = pytest.mark.long

SOON = 1.0  # seconds, when it is announced
LOOK = 16.0  # seconds, when it is looked for


def watch_until_over(web, desk, roadmap_id: str, act: Callable[[], Any], within: float) -> Reader:
    """Read a stream, `act`, and see the server end it; somebody else's goes on."""

    async def follow() -> Reader:
        other = await asyncio.to_thread(desk.start, person="eve")
        hers = await asyncio.to_thread(desk.token, "eve")
        async with (
            Reader(web.url, roadmap_id, await asyncio.to_thread(desk.token)) as reader,
            Reader(web.url, other, hers) as unconcerned,
        ):
            await reader.read(until=1)
            await unconcerned.read(until=1)
            await asyncio.to_thread(act)
            began = time.monotonic()
            await asyncio.wait_for(reader.read(), within)
            assert time.monotonic() - began < within
            await asyncio.to_thread(desk.record, other)
            await unconcerned.read(until=2)
            return reader

    return run(follow())


@pytest.fixture
def roadmap_id(desk) -> str:
    return desk.start()


def test_a_stream_ends_with_its_roadmap(web, desk, roadmap_id, database):
    cookie = sign_in(web, database)

    def delete() -> None:
        with httpx.Client(base_url=web.url, headers={"Cookie": cookie}) as browser:
            path = f"/admin/roadmap/roadmap/{roadmap_id}/delete/"
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(path).text)
            assert token is not None
            browser.headers["Cookie"] += f"; csrftoken={browser.cookies['csrftoken']}"
            answer = browser.post(path, data={"post": "yes", "csrfmiddlewaretoken": token[1]})
            assert answer.status_code == 302

    assert watch_until_over(web, desk, roadmap_id, delete, SOON).complete


def test_a_stream_whose_roadmap_went_without_a_word_ends_soon(web, desk, roadmap_id):
    gone = watch_until_over(web, desk, roadmap_id, lambda: desk.call("delete", roadmap_id), LOOK)
    assert gone.complete


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM roadmap_token WHERE owner_id = (SELECT id FROM auth_user WHERE username = 'ada') RETURNING 1",
        "UPDATE auth_user SET is_active = false WHERE username = 'ada' RETURNING 1",
        "UPDATE roadmap_roadmap SET owner_id = (SELECT id FROM auth_user WHERE username = 'eve') RETURNING 1",
    ],
    ids=["revoked", "deactivated", "given away"],
)
def test_a_stream_ends_with_the_right_to_it(web, desk, roadmap_id, database, statement):
    reader = watch_until_over(web, desk, roadmap_id, lambda: query(database.superuser_url, statement), LOOK)
    assert reader.complete


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM django_session RETURNING 1",
        "UPDATE auth_user SET password = 'another' WHERE is_superuser RETURNING 1",
        "SELECT 1",
    ],
    ids=["signed out", "new password", "neither"],
)
def test_a_browsers_stream_ends_with_its_session(web, desk, roadmap_id, database, statement):
    cookie = sign_in(web, database)
    query(
        database.superuser_url,
        "UPDATE roadmap_roadmap SET owner_id = (SELECT id FROM auth_user WHERE is_superuser) RETURNING 1",
    )
    path = f"{web.url}/api/v1/roadmaps/{roadmap_id}/events"
    with httpx.stream("GET", path, headers={"Cookie": cookie}, timeout=30) as answer:
        wait_until(lambda: web.health()["streams"]["open"] == 1, 5, "it is open")
        query(database.superuser_url, statement)
        lines = answer.iter_lines()
        if statement == "SELECT 1":
            assert next(line for line in lines if line.startswith(":")) == ": still here"
            assert web.health()["streams"]["open"] == 1
        else:
            began = time.monotonic()
            assert ": still here" not in [*lines][:-2]
            assert time.monotonic() - began < LOOK


def test_streams_end_in_order_when_the_process_does(web, desk, roadmap_id):
    token = desk.token()

    async def follow() -> list[Reader]:
        readers = [Reader(web.url, roadmap_id, token) for _ in range(20)]
        for reader in readers:
            await reader.__aenter__()
        reading = asyncio.gather(*(reader.read() for reader in readers))
        await asyncio.to_thread(wait_until, lambda: web.health()["streams"]["open"] == 20, 5, "all are open")
        started = time.monotonic()
        assert await asyncio.to_thread(web.stop) == 0
        assert time.monotonic() - started < 5
        await reading
        for reader in readers:
            await reader.__aexit__()
        return readers

    readers = run(asyncio.wait_for(follow(), 30))
    assert all(reader.complete for reader in readers)
    assert "Traceback" not in web.log()
