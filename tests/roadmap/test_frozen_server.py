"""PostgreSQL frozen: its sockets are open and nothing answers. Every caller has an answer within its deadline."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.client import Client, run
from tests.people import sign_in
from tests.service import query, wait_until

pytestmark = pytest.mark.alone

FROZEN = 20.0  # seconds
ROADMAP = """
    INSERT INTO roadmap_roadmap (id, owner_id, goal, level, language, state, error, author, title, summary,
                                 attempt, generation, last_event, tokens_in, tokens_out)
    SELECT gen_random_uuid(), id, 'a goal', '', '', 'drafting', '', '', '', '', 1, 0, 0, 0, 0
      FROM auth_user
    RETURNING id::text
"""


def processes_of(postmaster: int) -> list[int]:
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def test_everybody_is_answered_within_their_deadline_and_all_heals(own_postgres, own_database, start):
    web = start("web", own_database, DJANGO_SETTINGS_MODULE="tests.slow_settings")
    assert web.get("/slow/query?seconds=0").status_code == 200
    cookie = {"Cookie": sign_in(web, own_database)}
    ((roadmap,),) = query(own_database.url, ROADMAP)

    async def keep_asking(ended: asyncio.Event) -> list[tuple[str, int, float]]:
        answers: list[tuple[str, int, float]] = []

        async def keep(kind: str, ask: Callable[[Client, int], Awaitable[tuple[int, float]]]) -> None:
            async with Client(web.url) as client:
                number = 0
                while not ended.is_set():
                    number += 1
                    answers.append((kind, *await ask(client, number)))
                    await asyncio.sleep(0.05)

        def join(who: int) -> Awaitable[None]:
            async def ask(client: Client, number: int) -> tuple[int, float]:
                answer = await client.join(f"frozen{who}.{number}@example.com")
                return answer.status, answer.seconds

            return keep("join", ask)

        def get(kind: str, path: str) -> Awaitable[None]:
            async def ask(client: Client, _: int) -> tuple[int, float]:
                answer = await client.request("GET", path, headers=cookie)
                return answer.status, answer.seconds

            return keep(kind, ask)

        async def open_stream(_: Client, __: int) -> tuple[int, float]:
            started = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            path = f"/api/v1/roadmaps/{roadmap}/events"
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie['Cookie']}\r\n\r\n".encode()
            )
            status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
            writer.close()
            return status, time.monotonic() - started

        await asyncio.gather(
            *(join(who) for who in range(20)),
            *(get("page", "/slow/query?seconds=0") for _ in range(20)),
            *(get("signed in", "/roadmaps/") for _ in range(3)),
            *(get("ready", "/health/ready") for _ in range(2)),
            *(keep("stream", open_stream) for _ in range(3)),
        )
        return answers

    async def freeze() -> list[tuple[str, int, float]]:
        ended = asyncio.Event()
        asking = asyncio.create_task(keep_asking(ended))
        await asyncio.sleep(1)
        stopped = processes_of(own_postgres.pid)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(FROZEN)
            health = web.health()
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)
        assert health["status"] == "fail"
        assert web.get("/health/live").status_code == 200
        await asyncio.sleep(6)
        ended.set()
        return await asking

    answers = run(freeze())
    slack = 0.5  # seconds, of a machine with two cores and fifty clients
    for kind, statuses, deadline in (
        ("join", {202, 503}, 2),
        ("page", {200, 503}, 5),
        ("signed in", {200, 503}, 5),
        ("stream", {200, 503}, 5),
        ("ready", {200, 503}, 0),
    ):
        assert {status for asked, status, _ in answers if asked == kind} == statuses, kind
        assert max(seconds for asked, _, seconds in answers if asked == kind) < deadline + slack, kind
    wait_until(lambda: web.get("/health/ready").status_code == 200, 5, "ready again")
    assert web.join("after@example.com").status_code == 202
    assert web.get("/slow/query?seconds=0").status_code == 200
    wait_until(lambda: web.health()["threads"]["busy"] == 0, 5, "no thread is stuck")
    wait_until(
        lambda: all(pool["used"] == 0 for pool in web.health()["pools"].values()), 5, "no connection is stuck"
    )
