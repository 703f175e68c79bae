"""A client that leaves takes its query off the server, and its thread and connection go back."""

import asyncio
import random
import socket
import struct
import time
from collections import Counter

import pytest

from tests.client import GONE, Answer, Client, run
from tests.people import sign_in
from tests.service import Service, query, wait_until

pytestmark = pytest.mark.alone

SLEEPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(%'"
    " AND datname = current_database()"
)

MANY_ENTRIES = """
    WITH inserted AS (
        INSERT INTO waitlist_entry (email, normalised, source, language)
        SELECT n || '@example.com', n || '@example.com', '', 'en' FROM generate_series(1, 20000) AS n RETURNING 1
    ) SELECT count(*) FROM inserted
"""
ROADMAP = """
    INSERT INTO roadmap_roadmap (id, owner_id, goal, level, language, state, error, author, title, summary,
                                 attempt, generation, last_event, tokens_in, tokens_out)
    SELECT gen_random_uuid(), id, 'a goal', '', '', 'drafting', '', '', '', '', 1, 0, 0, 0, 0
      FROM auth_user
    RETURNING id::text
"""


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
    async def crowd() -> list[Answer]:
        await asyncio.gather(
            *(ask_and_leave(web, "/slow/query?seconds=30", random.uniform(0, 0.5)) for _ in range(200))
        )
        answers = []
        until = time.monotonic() + 3
        async with Client(web.url) as other:
            while time.monotonic() < until:
                answers.append(await other.request("GET", "/slow/query?seconds=0"))
        return answers

    answers = run(crowd())
    assert query(database.superuser_url, SLEEPING) == [(0,)], "3 s later no query is left"
    assert {answer.status for answer in answers} == {200}
    assert max(answer.seconds for answer in answers) < 1
    assert len(answers) > 20
    wait_until(lambda: all_idle(web), 5, "everything is back")
    faults = web.health()["faults"]
    assert faults["client_gone"] > 0
    assert faults["connection_lost"] == 0, "a cancelled query must not cost the connection"


class Leaver:
    """One client that begins something on a connection and hangs up in the middle of it, without a word."""

    def __init__(self, web: Service, dice: random.Random, cookie: str, roadmap: str):
        self.web = web
        self.dice = dice
        self.cookie = cookie
        self.roadmap = roadmap

    def get(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode()

    async def connecting(self, number: int) -> None:
        """Before its connection is accepted, or just after."""
        with socket.socket() as one:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.web.port))
            one.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )  # a reset, as by a crash
            await asyncio.sleep(self.dice.uniform(0, 0.002))

    async def ask(self, request: bytes, *, read: int = 0, within: float = 0.3) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.web.port)
        try:
            writer.write(request)
            if read:
                await reader.read(read)
            await asyncio.sleep(self.dice.uniform(0, within))
        finally:
            writer.transport.abort()

    async def waiting(self, number: int) -> None:
        """For a thread, or in a query that has hardly begun."""
        await self.ask(self.get("/slow/query?seconds=20"))

    async def in_a_query(self, number: int) -> None:
        await self.ask(self.get("/slow/query?seconds=0.05"))

    async def reading(self, number: int) -> None:
        await self.ask(self.get("/slow/stream?parts=100"), read=1000)

    async def reading_a_csv(self, number: int) -> None:
        await self.ask(self.get("/admin/waitlist/entry/export/"), read=1000)

    async def watching(self, number: int) -> None:
        """A roadmap's progress."""
        await self.ask(self.get(f"/api/v1/roadmaps/{self.roadmap}/events"), read=self.dice.choice((0, 1000)))

    async def sending(self, number: int) -> None:
        """A join, of which anything may be missing."""
        head, body = join_request(number)
        await self.ask(head + body[: self.dice.randrange(len(body))])

    async def committing(self, number: int) -> None:
        """A join that is complete, and waits for its commit."""
        head, body = join_request(number)
        await self.ask(head + body, within=0.01)


def join_request(number: int) -> tuple[bytes, bytes]:
    body = b'{"email": "left%d@example.com"}' % number
    head = "POST /api/v1/waitlist HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode(), body


def test_2000_that_leave_at_random_moments_leave_every_pool_and_thread_idle(web, database):
    dice = random.Random(2000)
    cookie = sign_in(web, database)
    ((roadmap,),) = query(database.url, ROADMAP)
    assert query(database.url, MANY_ENTRIES) == [(20_000,)]
    leaver = Leaver(web, dice, cookie, roadmap)
    moments = [
        leaver.connecting,
        leaver.waiting,
        leaver.in_a_query,
        leaver.reading,
        leaver.reading_a_csv,
        leaver.watching,
        leaver.sending,
        leaver.committing,
    ]
    begun: Counter[str] = Counter()
    not_served: Counter[str] = Counter()

    async def crowd() -> None:
        room = asyncio.Semaphore(200)

        async def when_there_is_room(number: int) -> None:
            moment = dice.choice(moments)
            async with room:
                begun[moment.__name__] += 1
                try:
                    await asyncio.wait_for(moment(number), 8)
                except (*GONE, TimeoutError):
                    not_served[moment.__name__] += 1

        await asyncio.gather(*(when_there_is_room(number) for number in range(2000)))

    run(crowd())
    wait_until(lambda: all_idle(web), 5, "every pool and thread is idle")
    assert query(database.superuser_url, SLEEPING) == [(0,)]
    assert web.health()["streams"] == {"open": 0, "roadmaps": 0}
    assert len(begun) == len(moments)
    assert min(begun.values()) > 150
    # The server hung up on nobody, and kept nobody waiting: they left of their own.
    assert not_served == {}
    assert web.health()["faults"]["client_gone"] > 500
    assert web.get("/slow/query?seconds=0").status_code == 200
    assert web.join("stayed@example.com").status_code == 202
