"""What is full is said: any pool at its maximum but the join writer's, and every queue at its bound."""

from collections.abc import Iterator
from math import inf

import pytest
from psycopg_pool import ConnectionPool

from healthcheck import pools, views
from tests.conftest import Database


@pytest.fixture(params=["checkpointer", "orm", "joins"])
def pool_of_one(request: pytest.FixtureRequest, database: Database) -> Iterator[ConnectionPool]:
    with ConnectionPool(database.url, name=request.param, min_size=1, max_size=1, open=True) as pool:
        pool.wait()
        pools.announce(pool)
        yield pool
        pools.withdraw(pool.name)


def notes_of(name: str) -> list[str]:
    _, health = views.health()
    return [note for note in health["notes"] if note.startswith(name)]


def test_a_pool_of_one_is_full_when_its_one_is_used(pool_of_one: ConnectionPool) -> None:
    assert notes_of(pool_of_one.name) == []
    with pool_of_one.connection():
        full = [f"{pool_of_one.name}: 1 of 1 connections used, 0 waiting"]
        # The join writer writes whenever there is a join; that is no queue yet.
        assert notes_of(pool_of_one.name) == ([] if pool_of_one.name == "joins" else full)


@pytest.mark.parametrize(
    ("gauge", "most", "notes"),
    [
        ({"backlog": 0}, 20_000, []),
        ({"backlog": 19_999}, 20_000, []),
        ({"backlog": 20_000}, 20_000, ["a queue: 0 at work, 20000 waiting"]),
        ({"backlog": 20_000}, inf, []),
        ({"max": 8, "busy": 7, "waiting": 0}, inf, []),
        ({"max": 8, "busy": 8, "waiting": 0}, inf, ["a queue: 8 at work, 0 waiting"]),
        ({"max": 8, "busy": 3, "waiting": 2}, inf, ["a queue: 3 at work, 2 waiting"]),
        ({"open": 5, "roadmaps": 2}, inf, []),
    ],
)
def test_a_queue_is_full_at_its_bound(gauge: dict[str, int], most: float, notes: list[str]) -> None:
    pools.announce_gauge("a queue", lambda: gauge, most)
    try:
        assert notes_of("a queue") == notes
    finally:
        pools.withdraw("a queue")
