"""The checkpointer pool: its tables, a checkpoint there and back, and connections cut while idle."""

import asyncio
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.inside import inside
from tests.roadmap.conftest import ID
from tests.service import PROJECT, connections_by_name, environment, query

RUNS = 40


async def write_and_read(arguments: dict[str, Any]) -> dict[str, Any]:
    """In the process: a checkpoint of each of many runs at once, each with a saver of its own."""
    from langgraph.checkpoint.base import empty_checkpoint

    from roadmap import checkpointer

    async def one_run(number: int) -> str:
        saver = checkpointer.saver()
        config: Any = {"configurable": {"thread_id": f"run-{number}", "checkpoint_ns": ""}}
        checkpoint = empty_checkpoint()
        checkpoint["channel_values"] = {"outline": f"outline {number}"}
        checkpoint["channel_versions"] = {"outline": "1"}
        written = await saver.aput(config, checkpoint, {"step": number}, {"outline": "1"})
        await saver.aput_writes(written, [("lesson", f"lesson {number}")], f"task-{number}")
        found = await checkpointer.saver().aget_tuple(config)
        assert found is not None
        assert found.checkpoint["id"] == checkpoint["id"]
        assert found.pending_writes == [(f"task-{number}", "lesson", f"lesson {number}")]
        return str(found.checkpoint["channel_values"]["outline"])

    outlines = await asyncio.gather(*(one_run(number) for number in range(RUNS)))
    pool = checkpointer.saver().conn
    return {"outlines": outlines, "max": pool.max_size, "size": pool.get_stats()["pool_size"]}


def test_many_runs_write_and_read_their_checkpoints_over_the_pool(database):
    seen = inside("worker", database, write_and_read)
    assert seen["outlines"] == [f"outline {number}" for number in range(RUNS)]
    assert seen["max"] == 4
    assert 1 < seen["size"] <= 4, "the runs took turns on one connection, or the pool grew past its maximum"
    assert query(database.url, "SELECT count(*) FROM checkpoints") == [(RUNS,)]
    assert connections_by_name(database.superuser_url, database.name) == {}, "all are closed with the process"


async def survive_a_cut(arguments: dict[str, Any]) -> None:
    """In the process: four connections, all cut while idle, and then used again at once by runs."""
    from langgraph.checkpoint.base import empty_checkpoint

    from roadmap import checkpointer
    from roadmap.runs.saver import RunSaver

    pool = checkpointer.pool()

    async def pid(together: asyncio.Barrier) -> int:
        async with pool.connection() as connection:
            await together.wait()  # so that each gets a connection of its own
            row = await (await connection.execute("SELECT pg_backend_pid() AS pid")).fetchone()
            return int(row["pid"])

    async def write(number: int) -> None:
        config: Any = {"configurable": {"thread_id": f"run-{number}", "checkpoint_ns": ""}}
        await RunSaver(pool, uuid.UUID(ID), 3).aput(config, empty_checkpoint(), {"step": number}, {})

    before = asyncio.Barrier(4)
    pids = await asyncio.gather(*(pid(before) for _ in range(4)))
    assert len(set(pids)) == 4
    # None of them is checked before it is used: that they work was seen a moment ago.
    await asyncio.to_thread(
        query,
        arguments["superuser_url"],
        "SELECT pg_terminate_backend(p, 5000) FROM unnest(%s::int[]) p",
        pids,
    )
    await asyncio.gather(*(write(number) for number in range(RUNS)))
    after = asyncio.Barrier(4)
    assert not set(pids) & set(await asyncio.gather(*(pid(after) for _ in range(4))))


def test_runs_do_not_notice_that_their_idle_connections_were_cut(database, roadmap):
    inside("worker", database, survive_a_cut, {"superuser_url": database.superuser_url})
    assert query(database.url, "SELECT count(*) FROM checkpoints") == [(RUNS,)]


async def saver_outside(arguments: dict[str, Any]) -> str:
    from roadmap import checkpointer

    try:
        checkpointer.saver()
    except checkpointer.NotOpen as error:
        return str(error)
    return ""


def test_a_saver_without_its_pool_is_refused_in_a_sentence(database):
    refusal = inside("worker", database, saver_outside, opened=False)
    assert refusal == "The checkpointer pool is not open in this process."


def test_two_migrates_at_once_on_an_empty_database_both_succeed(postgres):
    name = "two_migrates"
    postgres.create_database(name)

    def migrate() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "migrate"],
            cwd=PROJECT,
            env=environment(postgres.dsn(name)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with ThreadPoolExecutor(2) as both:
        first, second = both.map(lambda _: migrate(), range(2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    tables = query(postgres.dsn(name), "SELECT tablename FROM pg_tables WHERE tablename LIKE 'checkpoint%'")
    assert {"checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations"} == {
        t for (t,) in tables
    }
