"""200 runs at once, with a model that takes 2 s: joins and pages are as fast as beside an equal load of the processor.

After the runs, processes that only compute take as much of the processor as the worker, its model and its
connections have taken: what is left of a difference would be due to connections.
"""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import Client, run
from tests.people import sign_in
from tests.roadmap.runs.desk import Desk
from tests.sampling import Sampler
from tests.service import Service, query, wait_until

pytestmark = pytest.mark.alone

RUNS = 200
WATCHED = 8.0  # seconds beside the runs, and as many beside the other load
LONG = 10.0  # seconds
VISITORS = 4
SLOWER = 2.5  # × at most; about 1.5 × is usual, and the p99 of some seconds varies by as much again
PRODUCTION = {  # 's sizes; a browser's cookies would need https there
    "DB_POOL_MIN_SIZE": "40",
    "DB_POOL_MAX_SIZE": "100",
    "WORKER_DB_POOL_MIN_SIZE": "8",
    "WORKER_DB_POOL_MAX_SIZE": "20",
    "CHECKPOINTER_POOL_MIN_SIZE": "2",
    "CHECKPOINTER_POOL_MAX_SIZE": "10",
    "WEB_CHECKPOINTER_POOL_MAX_SIZE": "2",
    "JOBS_POOL_MAX_SIZE": "4",
    "JOINS_POOL_MAX_SIZE": "2",
}
PLAN = {"web/orm": 80, "web/checkpointer": 2, "web/joins": 2, "web/watch": 1}
PLAN |= {"worker/orm": 20, "worker/checkpointer": 8, "worker/jobs": 5, "worker/watch": 1, "command": 2}
OF_THE_WORKER = """
    SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'roadmap_agent/worker/%%'
"""
DOING = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing' AND task_name = 'run'"
COMPUTE = """
import sys, time
share = float(sys.argv[1])
while True:
    began = time.monotonic()
    until = time.process_time() + share * 0.01
    while time.process_time() < until:
        sum(range(100))
    time.sleep(max(0, began + 0.01 - time.monotonic()))
"""


def processor_seconds(pids: list[int]) -> dict[int, float]:
    """What each thread of these processes has had of the processor so far."""
    found = {}
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            fields = task.read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            found[int(task.parent.name)] = ticks / os.sysconf("SC_CLK_TCK")
    return found


@contextlib.contextmanager
def computing(shares: list[float]) -> Iterator[None]:
    """A process for each share of a core, but for the smallest ones."""
    command = [sys.executable, "-c", COMPUTE]
    processes = [subprocess.Popen([*command, f"{share:.3f}"]) for share in shares if share > 0.005]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def visit(url: str, cookie: str, seconds: float) -> list[float]:
    """How long joins and pages took."""

    async def one(label: str) -> list[float]:
        ends, took = time.monotonic() + seconds, []
        async with Client(url) as client:
            while time.monotonic() < ends:
                join = await client.join(f"{label}-{len(took)}@example.com")
                page = await client.request("GET", "/roadmaps/", headers={"Cookie": cookie})
                assert (join.status, page.status) == (202, 200)
                took += [join.seconds, page.seconds]
                await asyncio.sleep(0.01)
        return took

    labels = [secrets.token_hex(4) for _ in range(VISITORS)]
    return [each for took in await asyncio.gather(*map(one, labels)) for each in took]


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


def test_joins_and_pages_are_as_fast_as_beside_an_equal_load(start, model, asks, database):
    model.settings(stages=4, concepts=5)
    web = start("web", database, **PRODUCTION)
    cookie = sign_in(web, database)
    run(visit(web.url, cookie, 1))
    beside_runs: list[float] = []
    beside_load: list[float] = []

    def worker() -> Service:
        return start("worker", database, **PRODUCTION, **asks, WORKER_RUNS=str(RUNS))

    def compare() -> None:
        """Watch beside the runs, then beside the other load."""
        model.settings(
            delay=LONG
        )  # until all have begun: the model's client takes the worker's whole core otherwise
        at_work = worker()
        wait_until(lambda: query(database.url, DOING)[0][0] == RUNS, 60, "all runs are at work")
        model.settings(delay=2.0)
        asked = model.asked()["requests"]
        wait_until(lambda: model.asked()["requests"] > asked + RUNS, 60, "the model takes 2 s")
        connections = [pid for (pid,) in query(database.superuser_url, OF_THE_WORKER, database.name)]
        others = [at_work.process.pid, model.pid, *connections]
        began, before = time.monotonic(), processor_seconds(others)
        beside_runs.extend(run(visit(web.url, cookie, WATCHED)))
        took, after = time.monotonic() - began, processor_seconds(others)
        assert query(database.url, DOING)[0][0] == RUNS, "they have been at work all the time"
        at_work.kill()  # they would go on for minutes
        shares = [(seconds - before.get(thread, 0)) / took for thread, seconds in after.items()]
        print(f"{sum(shares):.2f} cores, by {len(shares)} threads")
        with computing(shares):
            beside_load.extend(run(visit(web.url, cookie, WATCHED)))

    with (
        Desk(database, **asks) as desk,
        Sampler(database.superuser_url, database.name) as sampler,
    ):
        first = worker()
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(RUNS)]
        wait_until(lambda: desk.states() == {"review": RUNS}, 120, "all wait for their review")
        first.stop()
        for roadmap_id in roadmaps:
            desk.approve(roadmap_id)
        compare()
    ratio = p99(beside_runs) / p99(beside_load)
    print(f"p99 {p99(beside_runs) * 1000:.0f} ms and {p99(beside_load) * 1000:.0f} ms: {ratio:.2f} ×")
    assert ratio < SLOWER
    for name, most in sampler.most_open.items():
        assert most <= PLAN[name.removeprefix("roadmap_agent/")], f"{name} had {most} connections"
    assert sampler.most_open["roadmap_agent/worker/checkpointer"] > 1
    assert web.health()["faults"] == dict.fromkeys(web.health()["faults"], 0)
