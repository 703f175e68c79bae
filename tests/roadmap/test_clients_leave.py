"""A client that leaves takes its query off the server, and its thread and connection go back."""

import asyncio
import random

import pytest

from tests.client import GONE, Client, run
from tests.service import query, wait_until

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(%'"
    " AND datname = current_database()"
)


@pytest.fixture
def web(start, database):
    return start("web", database, DJANGO_SETTINGS_MODULE="tests.slow_settings")


def all_idle(web) -> bool:
    health = web.health()
    return (
        health["threads"]["busy"] == health["threads"]["waiting"] == 0
        and all(pool["used"] == 0 for pool in health["pools"].values())
        and health["joins"]["backlog"] == 0
    )


async def ask_and_leave(web, path: str, after: float) -> None:
    """Ask for a page and hang up, without a word, so many seconds later."""
    _, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await asyncio.sleep(after)
    writer.transport.abort()


def test_200_that_leave_a_long_query_slow_nobody_else_and_leave_nothing_on_the_server(web, database):
    async def crowd() -> None:
        await asyncio.gather(
            *(ask_and_leave(web, "/slow/query?seconds=30", random.uniform(0, 0.5)) for _ in range(200))
        )
        async with Client(web.url) as other:
            answer = await other.request("GET", "/slow/query?seconds=0")
            assert (answer.status, answer.seconds < 1) == (200, True)

    run(crowd())
    wait_until(lambda: query(database.superuser_url, SLEEPING) == [(0,)], 3, "no query is left")
    wait_until(lambda: all_idle(web), 5, "everything is back")
    faults = web.health()["faults"]
    assert faults["client_gone"] > 0
    assert faults["connection_lost"] == 0, "a cancelled query must not cost the connection"


def test_2000_that_leave_at_random_moments_leave_every_pool_and_thread_idle(web, database):
    dice = random.Random(2000)

    async def one(number: int) -> None:
        where = dice.choice(("connecting", "waiting", "query", "reading", "join"))
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        if where == "query":
            writer.write(b"GET /slow/query?seconds=0.05 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        elif where == "waiting":
            writer.write(b"GET /slow/query?seconds=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        elif where == "reading":
            writer.write(b"GET /slow/stream?parts=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.read(1000)
        elif where == "join":
            body = b'{"email": "left%d@example.com"}' % number
            writer.write(
                b"POST /api/v1/waitlist HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(body)
            )
            writer.write(body[: dice.randrange(len(body) + 1)])
        await asyncio.sleep(dice.uniform(0, 0.3))
        writer.transport.abort()

    async def crowd() -> None:
        room = asyncio.Semaphore(200)

        async def when_there_is_room(number: int) -> None:
            async with room:
                try:
                    await asyncio.wait_for(one(number), 5)
                except GONE:
                    left_early.append(number)

        left_early: list[int] = []
        await asyncio.gather(*(when_there_is_room(number) for number in range(2000)))

    run(crowd())
    wait_until(lambda: all_idle(web), 5, "every pool and thread is idle")
    assert query(database.superuser_url, SLEEPING) == [(0,)]
    assert web.get("/slow/query?seconds=0").status_code == 200
    assert web.join("stayed@example.com").status_code == 202
