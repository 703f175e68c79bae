"""Incident 5: `CancelledError` inside `connect()` on the waitlist, at bursts.

Each caller had been granted a connection of its own; establishing it was slow, callers gave up, and what they had
begun to connect was thrown away. Pools and time limits were made bigger. Here a burst shares one connection, so it
opens none, and while even that one is slow to come every caller is answered in time and counted once.
"""

import asyncio
from collections import Counter

import pytest

from tests.client import Answer, Client, run
from tests.incidents.test_01_idle_connections_cut import through_a_proxy
from tests.service import query, wait_until

BURST = 500


async def burst(url: str, label: str) -> list[Answer]:
    async def one(number: int) -> Answer:
        async with Client(url) as client:
            return await client.join(f"{label}{number}@example.com")

    return await asyncio.gather(*(one(number) for number in range(BURST)))


@pytest.mark.parametrize(("delay", "status"), [(0.8, 202), (3.5, 503)])
def test_a_burst_while_connecting_is_slow_opens_no_connection_for_its_callers(delay, status, start, database):
    async def scene() -> tuple[list[Answer], int, dict[str, int]]:
        async with through_a_proxy(database) as (proxy, database_behind_it):
            web = await asyncio.to_thread(start, "web", database_behind_it)
            await asyncio.to_thread(wait_until, lambda: settled(web), 5, "the pools are filled")
            opened, proxy.delay = proxy.opened, delay
            await asyncio.to_thread(cut_joins, database)
            answers = await burst(web.url, "burst")
            # The writer's own, and what the pools replace on hearing of the cut: not one for each caller.
            connects = proxy.opened - opened
            faults = (await asyncio.to_thread(web.health))["faults"]
            proxy.delay = 0.0
            await asyncio.to_thread(
                wait_until, lambda: web.join("after@example.com").status_code == 202, 6, "joins work again"
            )
            await asyncio.to_thread(web.kill)
            return answers, connects, faults

    answers, connects, faults = run(scene())
    assert Counter(answer.status for answer in answers) == {status: BURST}
    assert max(answer.seconds for answer in answers) < 2 + 1  # five hundred connects of ours take their time
    assert connects <= 4
    assert faults["deadline"] == (BURST if status == 503 else 0), (
        "each caller is counted once, under its own class"
    )
    assert faults["client_gone"] == faults["server_refused"] == 0
    stored = query(database.url, "SELECT count(*) FROM waitlist_entry WHERE normalised LIKE 'burst%'")
    assert stored[0][0] >= sum(answer.status == 202 for answer in answers)


def settled(web) -> bool:
    pools = web.health()["pools"]
    return pools["orm"]["idle"] == 8 and pools["joins"]["idle"] == 1


def cut_joins(database) -> None:
    query(
        database.superuser_url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = %s AND application_name = 'roadmap_agent/web/joins'",
        database.name,
    )
