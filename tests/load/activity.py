"""The most connections of one database, seen by the server itself, about 20 times a second."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

EVERY = 0.05  # seconds
QUERY = """
    SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend'
"""


@dataclass
class Most:
    """`in_use` are those that were not idle."""

    open: int = 0
    in_use: int = 0


@contextlib.contextmanager
def watched(superuser_url: str, database: str) -> Iterator[Most]:
    """Watch while the block runs; `superuser_url` must lead to another database than the one that is watched."""
    most = Most()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            row = connection.execute(QUERY, [database], prepare=True).fetchone()
            assert row is not None
            most.open, most.in_use = max(most.open, row[0]), max(most.in_use, row[1])

    with psycopg.connect(superuser_url, autocommit=True, application_name="load") as connection:
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield most
        finally:
            ended.set()
            thread.join()
