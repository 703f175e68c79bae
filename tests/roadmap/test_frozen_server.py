"""PostgreSQL frozen: its sockets are open and nothing answers. Every caller has an answer within its deadline."""

import asyncio
import os
import signal
from pathlib import Path

from tests.client import Client, run
from tests.service import wait_until

FROZEN = 20.0  # seconds


def processes_of(postmaster: int) -> list[int]:
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return [postmaster, *map(int, children)]


def test_everybody_is_answered_within_their_deadline_and_all_heals(own_postgres, own_database, start):
    web = start("web", own_database, DJANGO_SETTINGS_MODULE="tests.slow_settings")
    assert web.get("/slow/query?seconds=0").status_code == 200

    async def keep_asking(ended: asyncio.Event) -> list[tuple[str, int, float]]:
        answers: list[tuple[str, int, float]] = []

        async def joins(who: int) -> None:
            async with Client(web.url) as client:
                number = 0
                while not ended.is_set():
                    number += 1
                    answer = await client.join(f"frozen{who}.{number}@example.com")
                    answers.append(("join", answer.status, answer.seconds))
                    await asyncio.sleep(0.05)

        async def pages() -> None:
            async with Client(web.url) as client:
                while not ended.is_set():
                    answer = await client.request("GET", "/slow/query?seconds=0")
                    answers.append(("page", answer.status, answer.seconds))
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(joins(who) for who in range(20)), *(pages() for _ in range(20)))
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
    assert {status for kind, status, _ in answers if kind == "join"} == {202, 503}
    assert {status for kind, status, _ in answers if kind == "page"} == {200, 503}
    slack = 0.5  # seconds, of a machine with two cores and forty clients
    assert max(seconds for kind, _, seconds in answers if kind == "join") < 2 + slack
    assert max(seconds for kind, _, seconds in answers if kind == "page") < 5 + slack
    wait_until(lambda: web.get("/health/ready").status_code == 200, 5, "ready again")
    assert web.join("after@example.com").status_code == 202
    assert web.get("/slow/query?seconds=0").status_code == 200
    wait_until(lambda: web.health()["threads"]["busy"] == 0, 5, "no thread is stuck")
    wait_until(
        lambda: all(pool["used"] == 0 for pool in web.health()["pools"].values()), 5, "no connection is stuck"
    )
