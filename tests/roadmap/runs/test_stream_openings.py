"""Opening a stream: nobody waits for long, those who leave leave nothing behind, and there is a bound to all of it.

While a test holds the table of tokens, no opening gets on that has to ask it.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from healthcheck import faults
from roadmap.runs import hub, streams
from roadmap.server.threads import Threads
from tests.client import run
from tests.roadmap.runs.sse import Reader
from tests.service import wait_until

AT_ONCE = 3  # openings that ask the database
DEADLINE = 5.0  # seconds; PAGE_DEADLINE
MOST_OF_ONE = 50


@pytest.fixture
def roadmap_id(desk) -> str:
    return desk.start()


@pytest.fixture
def token(desk) -> str:
    return desk.token()


@contextlib.contextmanager
def held(database, table: str = "roadmap_token") -> Iterator[None]:
    with psycopg.connect(database.superuser_url) as holder:
        holder.execute(f"LOCK TABLE {table}")  # type: ignore[arg-type]
        yield


async def open_many(web, roadmap_id: str, token: str, count: int) -> list[asyncio.Task[int]]:
    """So many readers that have asked; what becomes of each is its status."""

    async def status() -> int:
        async with Reader(web.url, roadmap_id, token) as reader:
            return reader.status

    opening = [asyncio.create_task(status()) for _ in range(count)]
    busy = {"max": 8, "busy": AT_ONCE, "waiting": 0}
    await asyncio.to_thread(wait_until, lambda: web.health()["threads"] == busy, 5, "they ask")
    return opening


def test_who_says_not_who_they_are_is_told_so_at_once(web, roadmap_id, token, database):
    path = f"/api/v1/roadmaps/{roadmap_id}/events"

    async def ask() -> None:
        opening = await open_many(web, roadmap_id, token, 10)
        began = time.monotonic()
        cookies = ("theme=dark", 'sessionid="aaaaaaaa\\000"')  # a NUL, which PostgreSQL would not take
        for headers in ({}, {"Authorization": "Basic YTpi"}, *({"Cookie": cookie} for cookie in cookies)):
            answer = await asyncio.to_thread(web.get, path, headers=headers)
            assert answer.status_code == 401
            assert answer.json()["status"] == 401
        assert time.monotonic() - began < DEADLINE / 2
        for each in opening:
            each.cancel()

    with held(database):
        run(asyncio.wait_for(ask(), 10))


def test_an_opening_whose_reader_has_left_is_given_up(web, roadmap_id, token, database):
    async def leave() -> None:
        opening = await open_many(web, roadmap_id, token, 40)
        for each in opening:
            each.cancel()
        await asyncio.gather(*opening, return_exceptions=True)

    with held(database):
        run(leave())
        left = time.monotonic()
        wait_until(lambda: web.health()["threads"]["busy"] == 0, 3, "their queries are stopped")
        assert time.monotonic() - left < DEADLINE / 2
    wait_until(lambda: web.health()["pools"]["orm"]["used"] == 0, 2, "no connection is in use")
    assert web.health()["faults"]["deadline"] == 0
    assert web.health()["faults"]["client_gone"] == 40

    async def open_one() -> None:
        async with Reader(web.url, roadmap_id, token) as reader:
            await reader.read(until=1)

    run(asyncio.wait_for(open_one(), 1))
    assert "exception was never retrieved" not in web.log()


def test_an_opening_that_takes_too_long_gets_its_answer_by_the_deadline(web, roadmap_id, token, database):
    path, bearer = f"/api/v1/roadmaps/{roadmap_id}/events", {"Authorization": f"Bearer {token}"}

    async def ask() -> list[httpx.Response]:
        asking = [asyncio.to_thread(web.get, path, headers=bearer) for _ in range(5)]
        return await asyncio.gather(*asking)

    with held(database):
        began = time.monotonic()
        answers = run(ask())
        assert DEADLINE - 0.5 < time.monotonic() - began < DEADLINE + 1
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        wait_until(lambda: web.health()["threads"]["busy"] == 0, 3, "their queries are stopped")
    assert web.health()["faults"]["deadline"] == 5


def test_one_person_has_so_many_and_no_more(web, desk, roadmap_id, token):
    async def open_all() -> tuple[list[int], str, int]:
        readers = [Reader(web.url, roadmap_id, token) for _ in range(MOST_OF_ONE)]
        for reader in readers:
            await reader.__aenter__()
        async with Reader(web.url, roadmap_id, token) as refused:
            pass
        other = await asyncio.to_thread(desk.token, "eve")
        hers = await asyncio.to_thread(desk.start, person="eve")
        async with Reader(web.url, hers, other) as reader:
            assert reader.status == 200, "nobody else has fewer for it"
        await readers[0].__aexit__()
        left = {"open": MOST_OF_ONE - 1, "roadmaps": 1}
        await asyncio.to_thread(wait_until, lambda: web.health()["streams"] == left, 5, "there is room")
        async with Reader(web.url, roadmap_id, token) as again:
            pass
        for reader in readers[1:]:
            await reader.__aexit__()
        return [reader.status for reader in readers], refused.headers, again.status

    statuses, refused, again = run(asyncio.wait_for(open_all(), 20))
    assert statuses == [200] * MOST_OF_ONE
    assert refused.startswith("http/1.1 429 ")
    assert "\r\nretry-after: 15\r\n" in refused
    assert again == 200
    wait_until(lambda: web.health()["streams"]["open"] == 0, 5, "all are gone")


def test_a_process_has_so_many_and_no_more():
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/api/v1/roadmaps/00000000-0000-4000-8000-000000000000/events",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer roadmap_made_up")],
    }
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        said.append(message)

    async def ask() -> int:
        threads, before = Threads(1), faults.counts()["pool_full"]
        async with hub.opened(threads) as ours:
            with contextlib.ExitStack() as others:
                for _ in range(hub.MOST):
                    others.enter_context(ours.place())
                await streams.application(scope, receive, send)
            with ours.place():
                pass  # there is room again
        await threads.close()
        return faults.counts()["pool_full"] - before

    assert run(ask()) == 1
    assert said[0]["status"] == 503
    assert (b"retry-after", b"1") in said[0]["headers"]
