"""All ORM threads, or all ORM connections, taken: who needs neither is served as before."""

import asyncio
import contextlib
import json
import statistics

import pytest

from tests.client import GONE, Client, run
from tests.conftest import copy_database
from tests.service import manage, wait_until

pytestmark = pytest.mark.alone

JOINS = 200


@pytest.fixture
def web(start, database):
    # No deadline ends what keeps the threads.
    return start("web", database, DJANGO_SETTINGS_MODULE="tests.slow_settings", PAGE_DEADLINE="60")


@pytest.fixture
def calm(start, postgres):
    """The same service with nothing else to do: what a join takes on this machine at this moment."""
    # `check_pools` sees the whole server; this one has no ORM connection there.
    return start("web", copy_database(postgres), DB_POOL_MIN_SIZE="2")


async def join_times(*urls: str) -> list[list[float]]:
    """Seconds that each of `JOINS` joins took at each address, taking turns."""
    times: list[list[float]] = [[] for _ in urls]
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url)) for url in urls]
        for number in range(JOINS):
            for client, seconds in zip(clients, times, strict=True):
                answer = await client.join(f"{number}@example.com")
                assert answer.status == 202
                seconds.append(answer.seconds)
    return times


async def slowest_of_20(url: str, path: str) -> float:
    async with Client(url) as client:
        await client.request("GET", "/health/live")  # connecting is not what is measured
        answers = [await client.request("GET", path) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    return max(answer.seconds for answer in answers)


def others_are_served(web, calm, database, note: str) -> dict:
    """What holds while something is taken: health tells, within its time; joins and the operator's command work.

    Returns what `check_pools` says.
    """
    for path in ("/health", "/health/live", "/health/ready"):
        assert run(slowest_of_20(web.url, path)) <= 0.1
    health = web.health()
    assert health["status"] == "warn"
    assert note in health["notes"]
    during, before = run(join_times(web.url, calm.url))
    # They took turns, so both have had the machine's noise; a join that waited for a thread would take seconds.
    assert statistics.median(during) < 1.5 * statistics.median(before) + 0.001
    assert percentile(during) < 3 * percentile(before) + 0.02
    checked = manage(database.url, "check_pools", "--json", "--fail-level", "critical")
    assert checked.returncode == 0, checked.stdout
    assert note in web.health()["notes"], "all this time"
    return json.loads(checked.stdout)


def percentile(seconds: list[float]) -> float:
    """The 99th."""
    return statistics.quantiles(seconds, n=100)[98]


def orm_connections(checked: dict) -> dict[str, int]:
    """By state, as `check_pools` has them."""
    return {
        row["state"]: row["count"]
        for row in checked["live"]["by_application"]
        if row["application_name"] == "roadmap_agent/web/orm"
    }


def test_every_thread_in_a_sleeping_query_slows_nothing_that_needs_none(web, calm, database):
    async def sleep_in_all_threads() -> None:
        async def sleeper() -> None:
            async with Client(web.url) as client:
                await client.request("GET", "/slow/query?seconds=50")

        sleepers = [asyncio.create_task(sleeper()) for _ in range(8)]
        await asyncio.to_thread(
            wait_until, lambda: web.health()["threads"]["busy"] == 8, 3, "all threads are busy"
        )
        note = "threads: 8 at work, 0 waiting"
        checked = await asyncio.to_thread(others_are_served, web, calm, database, note)
        assert orm_connections(checked)["active"] == 8
        assert web.health()["threads"] == {"max": 8, "busy": 8, "waiting": 0}
        for task in sleepers:
            task.cancel()
        await asyncio.gather(*sleepers, return_exceptions=True)

    run(sleep_in_all_threads())
    wait_until(lambda: web.health()["threads"]["busy"] == 0, 5, "the threads are back")


def test_every_orm_connection_taken_inside_the_process_slows_no_join(web, calm, database):
    assert web.get("/slow/hoard?seconds=10").status_code == 200
    wait_until(lambda: web.health()["pools"]["orm"]["used"] == 24, 5, "all connections are taken")
    checked = others_are_served(web, calm, database, "orm: 24 of 24 connections used, 0 waiting")
    assert sum(orm_connections(checked).values()) == 24
    wait_until(lambda: web.health()["pools"]["orm"]["used"] == 0, 15, "they are back")
    assert web.get("/slow/query?seconds=0").status_code == 200


def test_a_page_waits_for_a_thread_until_its_deadline_and_is_told_when_to_come_back(start, database):
    web = start(
        "web",
        database,
        DJANGO_SETTINGS_MODULE="tests.slow_settings",
        ORM_THREADS="1",
        PAGE_DEADLINE="1",
    )

    async def two_for_one_thread() -> None:
        async with Client(web.url) as first, Client(web.url) as second:
            slow = asyncio.create_task(first.request("GET", "/slow/busy?seconds=3"))
            await asyncio.to_thread(
                wait_until, lambda: web.health()["threads"]["busy"] == 1, 3, "the thread is busy"
            )
            waiting = await second.request("GET", "/slow/query?seconds=0")
            assert waiting.status == 503
            assert waiting.headers["retry-after"] == "1"
            assert 0.9 < waiting.seconds < 1.5
            assert (await slow).status == 503  # its own deadline came while it ran

    run(two_for_one_thread())
    assert web.health()["faults"]["deadline"] == 2


def test_a_streamed_answer_holds_no_thread_while_its_client_reads(start, database):
    web = start("web", database, DJANGO_SETTINGS_MODULE="tests.slow_settings", ORM_THREADS="1")

    async def read_slowly() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port, limit=2**16)
        # More than all buffers between here and there take.
        writer.write(b"GET /slow/stream?parts=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        await asyncio.to_thread(
            wait_until, lambda: web.health()["threads"]["busy"] == 0, 5, "the thread is given back"
        )
        figures = web.health()["pools"]["orm"]
        assert figures["used"] == 0, figures
        async with Client(web.url) as other:
            assert (await other.request("GET", "/slow/query?seconds=0")).status == 200
        received = 0
        while chunk := await reader.read(2**20):
            received += len(chunk)
            if chunk.endswith(b"0\r\n\r\n"):
                break
        assert received > 400 * 65536
        writer.close()

    run(read_slowly())


def test_a_stream_whose_client_leaves_gives_everything_back(web):
    async def leave() -> None:
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            writer.write(b"GET /slow/stream?parts=400 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readline()
            writer.transport.abort()

    run(leave())

    def all_idle() -> bool:
        health = web.health()
        return health["threads"]["busy"] == 0 and health["pools"]["orm"]["used"] == 0

    wait_until(all_idle, 5, "threads and connections are back")
    assert web.get("/slow/query?seconds=0").status_code == 200


def test_what_comes_on_top_of_a_long_queue_is_refused_at_once(web):
    async def offer_too_much() -> list[float]:
        async def one() -> tuple[int, float]:
            async with Client(web.url) as client:
                try:
                    answer = await client.request("GET", "/slow/query?seconds=0.2")
                except GONE:
                    return 0, 0.0
                return answer.status, answer.seconds

        # So that the server knows how long such a page takes.
        await asyncio.gather(*(one() for _ in range(8 * 6)))
        many = asyncio.gather(*(one() for _ in range(300)))
        await asyncio.to_thread(wait_until, lambda: web.health()["faults"]["pool_full"], 5, "it refuses")
        async with Client(web.url) as client:  # as a proxy would also write it
            lane = [await client.request("GET", target) for target in ("/thanks", f"{web.url}/thanks")]
        assert [answer.status for answer in lane] == [200, 200]
        assert web.health()["threads"]["waiting"], "meanwhile"
        answers = await many
        assert {status for status, _ in answers} == {200, 503}
        served = [seconds for status, seconds in answers if status == 200]
        assert max(served) < 2 + 1
        return [seconds for status, seconds in answers if status == 503]

    refused = run(offer_too_much())
    assert statistics.median(refused) < 1
    assert web.health()["faults"]["pool_full"] == len(refused)
