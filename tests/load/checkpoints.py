"""Runs at work in one process: `python -m tests.load.checkpoints own|shared RUNS SECONDS`.

They go the service's own graph with the author of the built-in catalogue, which answers at once, through review and
writing to the end, again and again; their rows are left out, so that what they wait for is their checkpoints. It
prints one JSON object.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any, cast

import uvloop

from roadmap.server import role

role.become("worker")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")

import django  # noqa: E402  # the role comes before the settings

django.setup()

from django.db import connections  # noqa: E402
from django.db.backends.postgresql.base import DatabaseWrapper  # noqa: E402
from langchain_core.runnables import RunnableConfig  # noqa: E402
from langgraph.checkpoint.base import CheckpointTuple  # noqa: E402
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: E402
from langgraph.types import Command  # noqa: E402
from psycopg import AsyncConnection  # noqa: E402

from healthcheck.connecting import connection_kwargs  # noqa: E402
from roadmap import checkpointer  # noqa: E402
from roadmap.checkpointer import Pool  # noqa: E402
from roadmap.models import Roadmap  # noqa: E402
from roadmap.runs import graph  # noqa: E402
from roadmap.runs.authors import current_author  # noqa: E402
from roadmap.runs.nodes import Tools  # noqa: E402
from roadmap.runs.saver import RunSaver  # noqa: E402
from roadmap.server import memory  # noqa: E402
from tests.load.owned import make  # noqa: E402
from tests.load.peers import shared_saver  # noqa: E402

TIMES = 100  # that a write alone, and the way to the database and back, are measured
PREPARED = 20  # writes after which each connection has prepared its statements
WARM_UP = 3.0  # seconds
BRIEF = {"goal": "Learn SQL", "level": "", "hours_per_week": None, "weeks": None, "language": "en"}

Savers = Callable[[Roadmap], AsyncPostgresSaver]


def own_savers(pool: Pool) -> Savers:
    return lambda roadmap: RunSaver(pool, roadmap.pk, roadmap.attempt)


def note(saver: AsyncPostgresSaver, seconds: list[float]) -> None:
    """Have a saver note how long each of its operations took, its waits included."""
    cursor = saver._cursor

    @contextlib.asynccontextmanager
    async def noting(*, pipeline: bool = False) -> AsyncIterator[Any]:
        began = time.monotonic()
        async with cursor(pipeline=pipeline) as opened:
            yield opened
        seconds.append(time.monotonic() - began)

    saver._cursor = noting  # type: ignore[method-assign]


async def go(saver: AsyncPostgresSaver, thread: str) -> None:
    """One run, in two jobs as a worker has them."""
    config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": graph.MOST_STEPS}
    starts: list[Any] = [{"brief": BRIEF}, Command(resume={"decision": "approve"})]
    for start in starts:
        way = graph.way_of(saver)
        tools = Tools(current_author(), frozenset())
        await way.ainvoke(start, config, context=tools, durability="sync")
    ended = await saver.aget_tuple(config)
    if ended is None or not ended.checkpoint["channel_values"].get("lessons"):
        raise RuntimeError(f"the run {thread} ended without lessons")


async def go_on(saver: AsyncPostgresSaver, roadmap: Roadmap) -> None:
    for generation in count():
        thread = f"{roadmap.pk}:{generation}"
        await go(saver, thread)
        await saver.adelete_thread(thread)


@contextlib.asynccontextmanager
async def at_work(savers: Savers, roadmaps: list[Roadmap], seconds: list[float]) -> AsyncIterator[None]:
    """The runs of all of them, until the end of the block.

    Raises:
        RuntimeError: one has ended by itself.
    """
    working = [(savers(roadmap), roadmap) for roadmap in roadmaps]
    for saver in {saver for saver, _ in working}:  # one, if they share it
        note(saver, seconds)
    tasks = [asyncio.create_task(go_on(saver, roadmap)) for saver, roadmap in working]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if not isinstance(outcome, asyncio.CancelledError):
            raise RuntimeError("a run has ended by itself") from cast(BaseException, outcome)


async def alone(pool: Pool, roadmap: Roadmap) -> list[float]:
    """Seconds of one write after the other, with nothing else going on, on a connection that no pool looks at.

    It writes what a finished run's last steps have written: its last checkpoint, and a lesson, in turn.
    """
    thread, seconds = f"{roadmap.pk}:alone", list[float]()
    saver = RunSaver(pool, roadmap.pk, roadmap.attempt)
    await go(saver, thread)
    last = await saver.aget_tuple({"configurable": {"thread_id": thread}})
    if last is None:
        raise RuntimeError("a run left no checkpoint")
    async with pool.connection() as connection:
        saver.conn = connection
        note(saver, seconds)
        writing = writes(saver, last)
        for _ in range(PREPARED + TIMES):
            await next(writing)
    return seconds[PREPARED:]


def writes(saver: AsyncPostgresSaver, last: CheckpointTuple) -> Iterator[Any]:
    config: RunnableConfig = {"configurable": {**last.config["configurable"], "checkpoint_ns": ""}}
    lessons = last.checkpoint["channel_values"]["lessons"]
    key, lesson = next(iter(lessons.items()))
    for number in count():
        yield saver.aput(config, last.checkpoint, last.metadata, last.checkpoint["channel_versions"])
        yield saver.aput_writes(config, [("lessons", {key: lesson})], f"task-{number}")


async def round_trip() -> float:
    """Seconds of the smallest question to the server, on a connection of its own; the median."""
    async with await AsyncConnection.connect(
        **connection_kwargs("checkpointer", autocommit=True)
    ) as connection:
        seconds = []
        for _ in range(TIMES):
            began = time.monotonic()
            await connection.execute("SELECT 1")
            seconds.append(time.monotonic() - began)
    return sorted(seconds)[TIMES // 2]


def make_roadmaps(runs: int) -> list[Roadmap]:
    roadmaps = [roadmap for roadmap, _ in make(runs)]
    connection = cast(DatabaseWrapper, connections["default"])
    connection.close()
    connection.close_pool()  # the rows have no part in what comes
    return roadmaps


async def measure(kind: str, runs: int, seconds: float) -> dict[str, Any]:
    roadmaps = await asyncio.to_thread(make_roadmaps, runs)
    way = await round_trip()
    async with checkpointer.opened() as pool:
        one = await alone(pool, roadmaps[0])
        times: list[float] = []
        memory.settle()  # as the worker does
        savers = {"own": own_savers, "shared": shared_saver.savers}[kind](pool)
        async with at_work(savers, roadmaps, times):
            await asyncio.sleep(WARM_UP)
            began, processor, before = time.monotonic(), time.process_time(), len(times)
            await asyncio.sleep(seconds)
            took, after = time.monotonic() - began, len(times)
            processor = time.process_time() - processor
        size = pool.max_size
    return {
        "round_trip": way,
        "pool": size,
        "alone": summary(one),
        "operations": after - before,
        "seconds": took,
        "processor": processor,
        "times": summary(times[before:after]),
    }


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100]}


def main() -> None:
    kind, runs, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(measure(kind, int(runs), float(seconds)))))


if __name__ == "__main__":
    main()
