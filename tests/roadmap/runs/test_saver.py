"""The saver of a run: its lock is its own, it writes for the attempt at work only, and a cut costs it a retry."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from tests.inside import inside
from tests.roadmap.conftest import ID
from tests.service import query, wait_until

AT_ONCE = 4
WAITING = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'
       AND application_name = 'roadmap_agent/worker/checkpointer'
"""


async def put(saver: Any, thread: str) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"outline": {"title": "A title"}}
    checkpoint["channel_versions"] = {"outline": "1"}
    written = await saver.aput(config, checkpoint, {"step": 1}, {"outline": "1"})
    await saver.aput_writes(written, [("lesson", {"text": "A lesson"})], "task")


async def how_many_wait(arguments: dict[str, Any]) -> int:
    """In the process: writes at once while the table is locked; how many of them reach the server."""
    from roadmap import checkpointer
    from roadmap.runs.saver import RunSaver

    def saver() -> Any:
        return RunSaver(checkpointer.pool(), uuid.UUID(ID), 3)

    shared = checkpointer.saver()
    with psycopg.connect(arguments["url"]) as holder:
        holder.execute("LOCK TABLE checkpoint_blobs")
        writes = [
            asyncio.create_task(put(saver() if arguments["own"] else shared, f"run-{n}"))
            for n in range(AT_ONCE)
        ]
        waiting = 0
        for _ in range(20):
            await asyncio.sleep(0.1)
            waiting = max(waiting, query(arguments["url"], WAITING)[0][0])
        holder.rollback()
        await asyncio.gather(*writes)
    return waiting


def test_one_shared_saver_does_one_operation_at_a_time_whatever_the_pool(database, roadmap):
    """When this fails, the saver has lost its lock: a saver for each run is then needed for its fence only."""
    assert inside("worker", database, how_many_wait, {"url": database.superuser_url, "own": False}) == 1


def test_savers_of_their_own_use_the_whole_pool(database, roadmap):
    assert inside("worker", database, how_many_wait, {"url": database.superuser_url, "own": True}) == AT_ONCE


async def write_with(arguments: dict[str, Any]) -> list[str]:
    """In the process: a checkpoint and writes of an attempt; what it was told."""
    from roadmap import checkpointer
    from roadmap.runs.events import Fenced
    from roadmap.runs.saver import RunSaver

    told = []
    for attempt in arguments["attempts"]:
        saver = RunSaver(checkpointer.pool(), uuid.UUID(ID), attempt)
        try:
            await put(saver, f"attempt-{attempt}")
            told.append("written")
        except Fenced:
            told.append("fenced")
        assert await saver.aget_tuple({"configurable": {"thread_id": "attempt-3"}}) is None or attempt >= 3
    pool = checkpointer.pool()
    assert pool.get_stats()["pool_size"] == pool.get_stats()["pool_available"]
    return told


def test_only_the_attempt_at_work_writes_and_of_another_nothing_is_stored(database, roadmap):
    told = inside("worker", database, write_with, {"attempts": [2, 3, 4]})
    assert told == ["fenced", "written", "fenced"]
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        assert query(database.url, f"SELECT DISTINCT thread_id FROM {table}") == [("attempt-3",)], table


async def write_while_threads_are_busy(_: dict[str, Any]) -> list[int]:
    """In the process: how often the pool had been asked for a connection while the write waited, and afterwards."""
    from roadmap import checkpointer
    from roadmap.runs.saver import RunSaver

    free, wanted = threading.Event(), asyncio.Event()

    class OneThread(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            wanted.set()
            return super().submit(*arguments, **options)

    one = OneThread(1)
    asyncio.get_running_loop().set_default_executor(one)
    one.submit(free.wait)
    wanted.clear()
    pool = checkpointer.pool()
    write = asyncio.create_task(put(RunSaver(pool, uuid.UUID(ID), 3), "waiting"))
    await wanted.wait()
    meanwhile = pool.get_stats().get("requests_num", 0)
    free.set()
    await write
    return [meanwhile, pool.get_stats()["requests_num"]]


def test_no_connection_is_held_while_a_write_is_put_together(database, roadmap):
    """The saver has a thread do it, and may have to wait for one."""
    assert inside("worker", database, write_while_threads_are_busy) == [0, 2]
    assert query(database.url, "SELECT thread_id FROM checkpoint_blobs") == [("waiting",)]


async def write_while_cut(arguments: dict[str, Any]) -> int:
    """In the process: a checkpoint whose connection is ended while it is being written."""
    from roadmap import checkpointer
    from roadmap.runs.saver import RunSaver

    saver = RunSaver(checkpointer.pool(), uuid.UUID(ID), 3)
    url = arguments["url"]
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE checkpoint_blobs")
        write = asyncio.create_task(put(saver, "cut"))
        await asyncio.to_thread(wait_until, lambda: query(url, WAITING)[0][0], 10, "it is being written")
        cut = query(url, WAITING.replace("count(*)", "count(pg_terminate_backend(pid, 5000))"))[0][0]
        holder.rollback()
        await asyncio.wait_for(write, 10)
    return int(cut)


def test_a_write_cut_in_flight_costs_a_retry(database, roadmap):
    assert inside("worker", database, write_while_cut, {"url": database.superuser_url}) == 1
    assert query(database.url, "SELECT thread_id FROM checkpoints") == [("cut",)]
    assert query(database.url, "SELECT thread_id FROM checkpoint_writes") == [("cut",)]


async def dump_and_load(arguments: dict[str, Any]) -> str:
    """In the process: a checkpoint that names a type of ours, read back."""
    from roadmap import checkpointer
    from roadmap.plan import PoolSize

    serde = checkpointer.saver().serde
    return type(serde.loads_typed(serde.dumps_typed(PoolSize("orm", 1, 2, 3.0)))).__name__


def test_a_checkpoint_that_names_a_type_has_nothing_imported(database):
    assert inside("worker", database, dump_and_load) != "PoolSize"
