"""The watch goes on, whatever a subscriber, a pool or the server does to it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from healthcheck import pools, watch
from healthcheck.watch import FRESH
from tests.inside import inside
from tests.service import wait_until

TERMINATE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE application_name = 'roadmap_agent/web/watch' AND datname = current_database()"
)


async def until(condition: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(wait_until, condition, 10, what)


async def break_a_subscriber(arguments: dict[str, Any]) -> list[str | None]:
    heard: list[str | None] = []
    failed = 0

    def fail(payload: str | None) -> None:
        nonlocal failed
        failed += 1
        raise ValueError(payload)

    watch.subscribe("first", fail)
    watch.subscribe("second", heard.append)
    await until(lambda: heard, "the second subscriber hears although the first failed")
    async with await psycopg.AsyncConnection.connect(arguments["url"], autocommit=True) as connection:
        await connection.execute("NOTIFY first, 'bad'")
        await connection.execute("NOTIFY second, 'good'")
    await until(lambda: "good" in heard, "and hears what is announced")
    assert failed == 2
    current = watch.current()
    assert current is not None
    await asyncio.sleep(FRESH)  # for which the last answer would still count
    assert current.not_ready() is None
    return heard


def test_a_subscriber_that_fails_ends_neither_the_watch_nor_the_others(database):
    # None once: the connection, and with it what was announced, was not lost in between.
    assert inside("web", database, break_a_subscriber, {"url": database.superuser_url}) == [None, "good"]


class Unreadable:
    """A pool whose figures cannot be read."""

    name = "unreadable"
    min_size = max_size = 1

    def __init__(self) -> None:
        self.asked = 0

    def get_stats(self) -> Mapping[str, int]:
        self.asked += 1
        raise ZeroDivisionError


async def stumble(arguments: dict[str, Any]) -> str | None:
    current = watch.current()
    assert current is not None
    await until(lambda: current.answers, "the watch has begun")
    pool = Unreadable()
    pools.announce(pool)
    async with await psycopg.AsyncConnection.connect(arguments["url"], autocommit=True) as connection:
        await connection.execute(TERMINATE)
    await until(lambda: pool.asked, "the loss is noticed, and no line can be written about it")
    pools.withdraw(pool.name)
    await asyncio.sleep(FRESH)
    await until(lambda: current.answers, "the watch has begun again")
    return current.not_ready()


def test_a_mistake_in_the_watch_itself_is_logged_and_it_starts_over(database):
    assert inside("web", database, stumble, {"url": database.superuser_url}) is None
