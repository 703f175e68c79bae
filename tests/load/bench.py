"""How everything is measured: a fresh server with a database of its own, a warm-up, then wrk."""

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from roadmap.server.places import DATABASE
from roadmap.server.postgres import PrivatePostgres
from tests.load.activity import watched
from tests.load.servers import Peer, server
from tests.service import Service

SETTLED = 1.0  # seconds without a new row after which nobody writes any more
WARM_UP = 1.0  # seconds
TIMEOUT = 30  # seconds until wrk counts a request as failed
SCRIPT = Path(__file__).parent / "load.lua"


@dataclass(frozen=True)
class Run:
    """One measurement. Times are in seconds; `failed` counts errors, timeouts and statuses of 400 and more."""

    rate: float
    p50: float
    p99: float
    failed: int
    answered: int
    in_use: int
    open: int


class WrongRows(Exception):
    """What was answered is not what is in the table."""


@dataclass
class Target:
    """A running server and its database."""

    name: str
    server: Service | Peer
    database: str
    database_url: str
    superuser_url: str

    @property
    def url(self) -> str:
        return self.server.url

    def rows(self) -> int:
        """The rows of the table, once those of callers that have left are in it too."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            before = -1
            while (now := self._count(connection)) != before:
                before = now
                time.sleep(SETTLED)
        return now

    @staticmethod
    def _count(connection: psycopg.Connection) -> int:
        row = connection.execute("SELECT count(*) FROM waitlist_entry").fetchone()
        assert row is not None
        return int(row[0])

    def fill(self, rows: int) -> None:
        """`rows` entries, and none besides."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("TRUNCATE waitlist_entry")
            connection.execute(
                "INSERT INTO waitlist_entry (email, normalised, source, language)"
                " SELECT address, address, 'load', 'en' FROM"
                " (SELECT format('person-%%s@example.com', n) AS address FROM generate_series(1, %s) AS n) AS people",
                [rows],
            )
            connection.execute("ANALYZE waitlist_entry")


class Bench:
    """The PostgreSQL that all share, and how often and how long."""

    def __init__(self, postgres: PrivatePostgres, folder: Path, rounds: int, seconds: float):
        self.postgres = postgres
        self.folder = folder
        self.rounds = rounds
        self.seconds = seconds

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """The name of an empty copy of the migrated database, gone with all its connections at the end."""
        database = f"load_{secrets.token_hex(4)}"
        superuser_url = self.postgres.dsn("postgres", superuser=True)
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{DATABASE}" OWNER roadmap')
            connection.execute("CHECKPOINT")
        try:
            yield database
        finally:
            with psycopg.connect(superuser_url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    @contextlib.contextmanager
    def running(self, name: str) -> Iterator[Target]:
        """One server, alone on the machine, with a database of its own."""
        with self.database() as database:
            url = self.postgres.dsn(database)
            process = server(name, url, self.folder / f"{database}-{name.replace(' ', '-')}.log")
            try:
                process.start()
                yield Target(name, process, database, url, self.postgres.dsn("postgres", superuser=True))
            finally:
                process.kill()

    def order(self, names: Sequence[str], number: int) -> list[str]:
        """The names as round `number` takes them: each round begins with another, so that no place is a better one."""
        start = number % len(names)
        return [*names[start:], *names[:start]]

    def measure(self, target: Target, kind: str, connections: int, path: str = "-") -> Run:
        """Warm up, then measure; joins are counted in the table.

        Raises:
            WrongRows: a join was answered and is not in the table, or is there without having been sent.
        """
        self._wrk(target, kind, connections, path, WARM_UP)
        counted = kind == "join" and target.name != "ceiling"
        before = target.rows() if counted else 0
        with watched(target.superuser_url, target.database) as most:
            result = self._wrk(target, kind, connections, path, self.seconds)
        written = target.rows() - before if counted else 0
        answered = result["requests"] - result["failed"]
        # When wrk stops, each connection may have one join under way that is written and not answered.
        if counted and not answered <= written <= result["requests"] + connections:
            raise WrongRows(f"{target.name} answered {answered:.0f} joins, and {written} are in the table.")
        return Run(
            rate=answered / result["seconds"],
            p50=result["p50"],
            p99=result["p99"],
            failed=int(result["failed"]),
            answered=int(answered),
            in_use=most.in_use,
            open=most.open,
        )

    def _wrk(
        self, target: Target, kind: str, connections: int, path: str, seconds: float
    ) -> dict[str, float]:
        command = [
            "wrk",
            "--threads",
            "1",
            "--connections",
            str(connections),
            "--duration",
            f"{seconds:.0f}s",
        ]
        command += ["--timeout", f"{TIMEOUT}s", "--script", str(SCRIPT), target.url]
        done = subprocess.run(
            [*command, "--", kind, secrets.token_hex(4), path],
            capture_output=True,
            text=True,
            timeout=seconds + TIMEOUT + 30,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result
