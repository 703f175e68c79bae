"""What PostgreSQL shows of the service's connections, looked at without a pause while something runs."""

import threading
from collections import Counter
from types import TracebackType
from typing import Self

import psycopg

LOOK = """
    SELECT application_name, count(*)::int, (count(*) FILTER (WHERE state <> 'idle'))::int
      FROM pg_stat_activity
     WHERE datname = %s AND application_name LIKE 'roadmap_agent%%'
     GROUP BY 1
"""


class Sampler:
    """A context manager; afterwards it knows the most connections that any look has seen.

    Attributes:
        looks: how often it has looked.
        most_open, most_in_use: connections by `application_name`; in use is any state but idle.
        most_in_use_at_once: the sum of the latter over all names, in one look.
    """

    def __init__(self, superuser_url: str, database: str):
        self.url = superuser_url
        self.database = database
        self.looks = 0
        self.most_open: Counter[str] = Counter()
        self.most_in_use: Counter[str] = Counter()
        self.most_in_use_at_once = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look_on(self) -> None:
        with psycopg.connect(self.url, autocommit=True, application_name="sampler") as connection:
            while not self._ended.wait(0.001):
                rows = connection.execute(LOOK, [self.database]).fetchall()
                self.looks += 1
                for name, is_open, in_use in rows:
                    self.most_open[name] = max(self.most_open[name], is_open)
                    self.most_in_use[name] = max(self.most_in_use[name], in_use)
                self.most_in_use_at_once = max(self.most_in_use_at_once, sum(row[2] for row in rows))
