"""Incident 13: "size 5 overflow 5 reached" once per web search.

An abandoned generator kept its session through an HTTP call. Here whatever is dropped in the middle, a stream or a
run, gives its connection back.
"""

import asyncio
import random

from tests.client import run
from tests.fake_openai_process import fake_openai_process
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.roadmap.runs.sse import Reader
from tests.service import query, wait_until


def test_streams_dropped_at_any_moment_give_everything_back(web, database):
    with Desk(database) as desk:
        people = [f"reader-{number}" for number in range(30)]
        theirs = [(desk.start(person=person), desk.token(person)) for person in people]
        for roadmap_id, _ in theirs:
            desk.record(roadmap_id, 50)

        async def drop(number: int) -> None:
            reader = Reader(web.url, *theirs[number])
            try:
                async with asyncio.timeout(random.uniform(0.001, 0.3)):
                    async with reader:
                        await reader.read()
            except TimeoutError:
                return

        async def drop_many() -> None:
            for _ in range(10):
                await asyncio.gather(*(drop(number) for number in range(len(theirs))))

        run(asyncio.wait_for(drop_many(), 60))
        idle = {"open": 0, "roadmaps": 0}
        wait_until(lambda: web.health()["streams"] == idle, 10, "no stream is left")
        wait_until(lambda: web.health()["pools"]["orm"]["used"] == 0, 5, "no connection is in use")
        assert web.health()["threads"] == {"max": 8, "busy": 0, "waiting": 0}


def test_runs_cancelled_at_any_moment_give_everything_back(start, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        worker = start("worker", database, **asking(model))
        model.settings(delay=0.05)
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(30)]
        for roadmap_id in roadmaps:
            desk.call("cancel", roadmap_id)
        assert desk.states() == {"cancelled": 30}
        doing = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        wait_until(lambda: query(database.url, doing) == [(0,)], 15, "no job is left")
        wait_until(lambda: in_use(worker) == 0, 5, "no connection is in use")
        roadmap_id = desk.start()
        desk.wait_for(roadmap_id, "review")
        assert worker.health()["faults"]["pool_timeout"] == 0


def in_use(worker) -> int:
    return sum(pool["used"] for pool in worker.health()["pools"].values())
