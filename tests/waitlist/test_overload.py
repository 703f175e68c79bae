"""More than the service can take: what is answered is answered in time, and afterwards it is as if nothing had been."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.client import GONE, Client, run
from tests.service import query, wait_until

pytestmark = pytest.mark.alone

SECONDS = 20.0
SLACK = 1.0  # seconds, of a machine whose two cores the callers share with the server


def memory(pid: int) -> int:
    """Bytes that a process has in memory."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


def is_calm(service) -> bool:
    health = service.health()
    return health["threads"]["busy"] == health["threads"]["waiting"] == health["joins"][
        "backlog"
    ] == 0 and all(pool["used"] == 0 for pool in health["pools"].values())


def test_joins_from_thousands_of_connections_are_stored_or_refused_in_time(web, database):
    (pid,) = web.worker_pids()
    web.join("first@example.com")
    before = memory(pid)

    async def join_on(who: int, ends: float) -> list[tuple[int, float]]:
        answers = []
        async with Client(web.url) as client:
            while asyncio.get_running_loop().time() < ends:
                answer = await client.join(f"p{who}.{len(answers)}@example.com")
                answers.append((answer.status, answer.seconds))
        return answers

    async def crowd() -> list[tuple[int, float]]:
        ends = asyncio.get_running_loop().time() + SECONDS
        return [
            pair for pairs in await asyncio.gather(*(join_on(n, ends) for n in range(5000))) for pair in pairs
        ]

    answers = run(crowd())
    statuses = Counter(status for status, _ in answers)
    assert statuses[202] > 5000
    assert set(statuses) <= {202, 503}
    # Each caller's first answer has the wait for its connection in it.
    assert sorted(seconds for _, seconds in answers)[-len(answers) // 100] < 2 + SLACK
    wait_until(lambda: is_calm(web), 5, "nothing is left of it")
    assert query(database.url, "SELECT count(*) FROM waitlist_entry")[0][0] >= statuses[202]
    assert memory(pid) - before < 200 * 2**20
    assert web.join("last@example.com").elapsed.total_seconds() < 0.5


def test_pages_far_past_capacity_are_answered_or_refused_and_joins_go_on(start, database):
    web = start("web", database, DJANGO_SETTINGS_MODULE="tests.slow_settings")
    (pid,) = web.worker_pids()
    web.get("/slow/query?seconds=0")
    before = memory(pid)

    async def ask_on(ends: float) -> list[tuple[int, float]]:
        answers = []
        async with Client(web.url) as client:
            while asyncio.get_running_loop().time() < ends:
                try:
                    answer = await client.request("GET", "/slow/query?seconds=0.1")
                except GONE:
                    answers.append((0, 0.0))
                    continue
                answers.append((answer.status, answer.seconds))
                await asyncio.sleep(0.5 if answer.status == 503 else 0)
        return answers

    async def join_beside_them(ends: float) -> list[float]:
        times = []
        async with Client(web.url) as client:
            while asyncio.get_running_loop().time() < ends:
                answer = await client.join(f"beside{len(times)}@example.com")
                assert answer.status == 202
                times.append(answer.seconds)
                await asyncio.sleep(0.05)
        return times

    async def crowd() -> tuple[list[tuple[int, float]], list[float]]:
        ends = asyncio.get_running_loop().time() + SECONDS
        joins = asyncio.create_task(join_beside_them(ends))
        # Eight threads and a tenth of a second each: 80 a second is what it can do. These ask for ten times that.
        pages = await asyncio.gather(*(ask_on(ends) for _ in range(400)))
        return [pair for pairs in pages for pair in pairs], await joins

    pages, joins = run(crowd())
    statuses = Counter(status for status, _ in pages)
    assert set(statuses) == {200, 503}
    assert statuses[503] > statuses[200]
    assert statuses[200] > 0.9 * 80 * SECONDS, "what it can do, it does"
    assert max(seconds for _, seconds in pages) < 5 + SLACK
    assert max(joins) < 1, "a join waits for no page"
    wait_until(lambda: is_calm(web), 5, "nothing is left of it")
    assert memory(pid) - before < 100 * 2**20
    assert web.get("/slow/query?seconds=0").elapsed.total_seconds() < 0.5
