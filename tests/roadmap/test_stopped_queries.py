"""A query whose caller has left while PostgreSQL is frozen: its thread is free again before the server is."""

import asyncio
import os
import signal
import socket
from typing import Any

from tests.inside import inside
from tests.roadmap.test_frozen_server import processes_of
from tests.service import query, wait_until

RUNNING = "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
FREE = 5.0  # seconds; two of them are the cancel's


async def leave_a_query(arguments: dict[str, Any]) -> dict[str, Any]:
    """The descriptor that the query's connection had would be somebody else's at once, were it closed."""
    from django.db import connection

    threads = arguments["opened"].threads

    def sleep() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    def runs() -> bool:
        return bool(query(arguments["url"], RUNNING)[0][0])

    taken: list[socket.socket] = []

    def is_free() -> bool:
        taken.extend(socket.socketpair())
        return threads.gauge()["busy"] == 0

    asking = asyncio.create_task(threads.do(sleep))
    await asyncio.to_thread(wait_until, runs, 5, "the query runs")
    frozen = processes_of(arguments["postmaster"])
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        asking.cancel()
        await asyncio.to_thread(wait_until, is_free, FREE, "the thread is free")
        return {"threads": threads.gauge(), "cancelled": asking.cancelled()}
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
        for one in taken:
            one.close()


def test_its_thread_is_free_though_nothing_is_answered(own_postgres, own_database):
    arguments = {"url": own_database.superuser_url, "postmaster": own_postgres.pid}
    left = inside("web", own_database, leave_a_query, arguments)
    assert left == {"threads": {"max": 8, "busy": 0, "waiting": 0}, "cancelled": True}
