"""Live progress: what a stream sends, to whom, and how it goes on where it was cut."""

import asyncio
import random
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.client import run
from tests.conftest import Database
from tests.roadmap.runs.desk import Desk
from tests.roadmap.runs.sse import Reader
from tests.service import Service, query, wait_until

CUT_WATCH = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = %s AND application_name = 'roadmap_agent/web/watch'
"""


@pytest.fixture
def web(module_web: Service) -> Service:
    return module_web


@pytest.fixture
def database(module_database: Database) -> Database:
    return module_database


@pytest.fixture(scope="module")
def desk(module_database: Database) -> Iterator[Desk]:
    with Desk(module_database) as desk:
        yield desk


@pytest.fixture
def roadmap_id(desk) -> str:
    return desk.start()


@pytest.fixture
def token(desk) -> str:
    return desk.token()


def test_a_stream_sends_what_has_been_and_then_what_comes(web, desk, roadmap_id, token):
    desk.record(roadmap_id, 2)

    async def follow() -> Reader:
        async with Reader(web.url, roadmap_id, token) as reader:
            await reader.read(until=3)
            await asyncio.to_thread(desk.record, roadmap_id, 3)
            await reader.read(until=6)
            return reader

    reader = run(asyncio.wait_for(follow(), 10))
    assert reader.status == 200
    assert "content-type: text/event-stream" in reader.headers
    assert "cache-control: no-store" in reader.headers
    assert reader.numbers == [1, 2, 3, 4, 5, 6]
    assert reader.seen[0][1:3] == ("status", {"status": "queued"})
    late = [seen.at - seen.data["at"] for seen in reader.seen[3:]]
    assert max(late) < 1


def test_a_stream_cut_and_resumed_again_and_again_misses_and_repeats_nothing(web, desk, roadmap_id, token):
    async def follow() -> list[int]:
        numbers: list[int] = []
        writing = asyncio.create_task(asyncio.to_thread(desk.record, roadmap_id, 300))
        while len(numbers) < 301:
            async with Reader(web.url, roadmap_id, token, numbers[-1] if numbers else None) as reader:
                await reader.read(until=min(301, (numbers[-1] if numbers else 0) + random.randint(1, 40)))
                numbers += reader.numbers
        await writing
        return numbers

    assert run(asyncio.wait_for(follow(), 30)) == list(range(1, 302))


def test_events_announced_while_nobody_listened_are_sent_all_the_same(web, desk, roadmap_id, token, database):
    async def follow() -> list[int]:
        async with Reader(web.url, roadmap_id, token) as reader:
            await reader.read(until=1)
            await asyncio.to_thread(query, database.superuser_url, CUT_WATCH, database.name)
            await asyncio.to_thread(desk.record, roadmap_id, 5)
            await reader.read(until=6)
            return reader.numbers

    assert run(asyncio.wait_for(follow(), 10)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("payload", ["", "nonsense", "7 7", "nonsense 1 2"])
def test_an_announcement_that_makes_no_sense_harms_nobody(payload, web, desk, roadmap_id, token, database):
    async def follow() -> list[int]:
        async with Reader(web.url, roadmap_id, token) as reader:
            await reader.read(until=1)
            notify = "SELECT pg_notify('roadmap_events', %s)"
            await asyncio.to_thread(query, database.url, notify, payload)
            for number in (2, 3):
                await asyncio.to_thread(desk.record, roadmap_id)
                await reader.read(until=number)
            return reader.numbers

    assert run(asyncio.wait_for(follow(), 5)) == [1, 2, 3]
    assert web.get("/health/ready").status_code == 200


def test_a_stream_in_which_nothing_happens_says_every_15_s_that_it_is_still_there(
    web, desk, roadmap_id, token
):
    async def follow() -> tuple[float, Reader]:
        async with Reader(web.url, roadmap_id, token) as reader:
            reading = asyncio.create_task(reader.read(until=2))
            await asyncio.to_thread(wait_until, lambda: reader.numbers == [1], 5, "it has begun")
            began = time.monotonic()
            await asyncio.to_thread(wait_until, lambda: reader.comments, 20, "the comment")
            took = time.monotonic() - began
            await asyncio.to_thread(desk.record, roadmap_id)
            await reading
            return took, reader

    took, reader = run(asyncio.wait_for(follow(), 40))
    assert 14 < took < 16.5
    assert reader.numbers == [1, 2]


@pytest.mark.parametrize("last", ["7", "99999999999", "abc", "-1", "²"])
def test_an_odd_last_event_id_harms_nobody(last, web, desk, roadmap_id, token):
    async def follow() -> tuple[list[int], list[int]]:
        async with (
            Reader(web.url, roadmap_id, token, last) as odd,  # type: ignore[arg-type]
            Reader(web.url, roadmap_id, token) as other,
        ):
            await asyncio.to_thread(desk.record, roadmap_id)
            await odd.read(until=2)
            await other.read(until=2)
            return odd.numbers, other.numbers

    odd, other = run(asyncio.wait_for(follow(), 10))
    assert odd[-1] == 2
    assert other == [1, 2]


def test_a_page_begins_after_the_event_that_it_was_rendered_with(web, desk, roadmap_id, token):
    desk.record(roadmap_id, 9)

    async def numbers(**came: int) -> list[int]:
        async with Reader(web.url, roadmap_id, token, **came) as reader:
            await reader.read(until=10)
            return reader.numbers

    assert run(numbers(after=7)) == [8, 9, 10]
    assert run(numbers(after=7, last=8)) == [9, 10], "it has come back since"


def test_a_history_of_any_length_comes_whole(web, desk, roadmap_id, token):
    desk.record(roadmap_id, 999)

    async def follow() -> list[int]:
        async with Reader(web.url, roadmap_id, token) as reader:
            await reader.read(until=1_000)
            return reader.numbers

    assert run(asyncio.wait_for(follow(), 10)) == list(range(1, 1_001))


def test_a_stream_is_for_its_owner_only(web, desk, roadmap_id, token):
    path = f"/api/v1/roadmaps/{roadmap_id}/events"

    def status(path: str = path, token: str | None = token, method: str = "GET", **headers: str) -> int:
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.stream(method, web.url + path, headers={**bearer, **headers}, timeout=10) as answer:
            if answer.status_code != 200:
                assert answer.headers["content-type"] == "application/problem+json"
                assert "content-security-policy" in answer.headers
            return answer.status_code

    assert status() == 200
    assert status(token=None) == 401
    assert status(token="roadmap_made_up") == 401
    assert status(token=desk.token("eve")) == 404
    assert status(path="/api/v1/roadmaps/00000000-0000-4000-8000-000000000000/events") == 404
    assert status(path="/api/v1/roadmaps/7/events") == 404
    for name in (
        roadmap_id.upper(),
        f"urn:uuid:{roadmap_id}",
        f"{{{roadmap_id}}}",
        roadmap_id.replace("-", ""),
    ):
        assert status(path=f"/api/v1/roadmaps/{name}/events") == 404, "there is one way to write it"
    assert status(method="POST") == 405
    assert status(Host="elsewhere.example") == 400


def test_the_signed_in_browser_reads_a_stream(web, desk, roadmap_id, database):
    from tests.people import sign_in

    cookie = sign_in(web, database)
    path = f"{web.url}/api/v1/roadmaps/{roadmap_id}/events"
    with httpx.stream("GET", path, headers={"Cookie": cookie}, timeout=10) as answer:
        assert answer.status_code == 404, "it is somebody else's"
    query(
        database.superuser_url,
        "UPDATE roadmap_roadmap SET owner_id = (SELECT id FROM auth_user WHERE is_superuser) RETURNING 1",
    )
    with httpx.stream("GET", path, headers={"Cookie": cookie}, timeout=10) as answer:
        assert answer.status_code == 200
        assert next(answer.iter_lines()).startswith("retry:")
