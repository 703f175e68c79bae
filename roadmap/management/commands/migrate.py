"""`migrate`, one at a time: two of them at once on an empty database would break each other."""

import time
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

LOCK = 7_326_001  # any number that nobody else uses as an advisory lock
PATIENCE = 600  # seconds


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        with connection.cursor() as cursor:
            self._take_lock(cursor)
            try:
                super().handle(*args, **options)
            finally:
                if connection.connection is not None and not connection.connection.closed:
                    cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])

    def _take_lock(self, cursor: Any) -> None:
        """Poll: a session that waits for the lock holds a snapshot, for which CREATE INDEX CONCURRENTLY waits."""
        give_up = time.monotonic() + PATIENCE
        told = False
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            if cursor.fetchone()[0]:
                return
            if not told:
                self.stdout.write("Another migrate is running on this database; waiting for it.")
                told = True
            if time.monotonic() > give_up:
                raise CommandError(
                    f"Another migrate has been running for {PATIENCE} s; end it or wait for it."
                )
            time.sleep(0.2)
