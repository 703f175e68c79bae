"""Incident 10: pages hang up to 60 s while content is generated.

Web and generation shared one pool. Here they share none: with every run slot taken and the checkpointer pool stuck,
pages and joins are answered as fast as before.
"""

import asyncio
from collections.abc import Sequence

import psycopg

from tests.client import Client, run
from tests.fake_openai_process import fake_openai_process
from tests.people import sign_in
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import query, wait_until

STUCK = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = %s AND application_name = 'roadmap_agent/worker/checkpointer' AND wait_event_type = 'Lock'
"""
ROUNDS = 150


async def visit(url: str, cookie: str, label: str) -> list[float]:
    """Seconds of joins and pages, four visitors at a time."""

    async def one(number: int) -> list[float]:
        async with Client(url) as client:
            seconds = []
            for turn in range(ROUNDS // 4):
                join = await client.join(f"{label}{number}-{turn}@example.com")
                page = await client.request("GET", "/admin/", headers={"Cookie": cookie})
                assert (join.status, page.status) == (202, 200)
                seconds += [join.seconds, page.seconds]
            return seconds

    visitors = await asyncio.gather(*(one(number) for number in range(4)))
    return [each for seconds in visitors for each in seconds]


def p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) * 95 // 100]


def test_pages_and_joins_are_as_fast_while_every_run_is_stuck(start, web, database):
    cookie = sign_in(web, database)
    run(visit(web.url, cookie, "warm"))
    before = p95(run(visit(web.url, cookie, "before")))
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        worker = start("worker", database, **asking(model))
        with psycopg.connect(database.superuser_url) as holder:
            holder.execute("LOCK TABLE checkpoint_blobs, checkpoint_writes")
            for number in range(25):
                desk.start(goal=f"goal {number}")
            wait_until(lambda: query(database.superuser_url, STUCK, database.name) == [(4,)], 15, "its pool")
            doing = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"
            wait_until(lambda: query(database.url, doing) == [(20,)], 15, "every slot is taken")
            assert worker.health()["pools"]["checkpointer"]["waiting"] > 0
            during = p95(run(visit(web.url, cookie, "during")))
        wait_until(lambda: desk.states() == {"review": 25}, 60, "the runs go on")
    assert during < max(2 * before, before + 0.1), f"{before:.3f} s before, {during:.3f} s during"
    assert web.health()["faults"]["pool_timeout"] == 0
