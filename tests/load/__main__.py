"""`make load`: the service against its peers, on this machine, now.

`ONLY=joins` for one row, `ROUNDS=` and `SECONDS=` for how often and how long. The table goes to standard output and
to `.data/load.md`.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.load import joins, overload, pages, runs, streams, visitor
from tests.load.bench import WARM_UP, Bench
from tests.load.table import Figures, Finding, markdown
from tests.service import PROJECT, manage, migrate
from tests.temporary_postgres import temporary_postgres

ROWS: dict[str, Callable[[Bench], tuple[list[Finding], list[Figures]]]] = {
    "joins": joins.measure,
    "visitor": visitor.measure,
    "pages": pages.measure,
    "overload": overload.measure,
    "runs": runs.measure,
    "streams": streams.measure,
}
FILES = 16_384  # for the connections of generator and server
TABLE = PROJECT / ".data" / "load.md"


def number(name: str, default: int, most: int) -> int:
    """A whole number from the environment.

    Raises:
        SystemExit: it is none, or out of bounds.
    """
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        sys.exit(f"{name} is {text!r}; it takes a whole number from 1 to {most}.")
    return int(text)


def main() -> None:
    wanted = os.environ.get("ONLY") or " ".join(ROWS)
    if unknown := [row for row in wanted.split() if row not in ROWS]:
        sys.exit(f"ONLY is {wanted!r}; {unknown[0]} is no row, the rows are {', '.join(ROWS)}.")
    rounds, seconds = number("ROUNDS", 3, 20), number("SECONDS", 5, 60)
    if shutil.which("wrk") is None:
        sys.exit("The load tests need wrk, which is not on PATH: install it (Debian: wrk), then try again.")
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most_files), most_files))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended

    findings: list[Finding] = []
    figures: list[Figures] = []
    folder = Path(tempfile.mkdtemp(prefix="roadmap-load-"))
    try:
        with temporary_postgres() as postgres:
            prepare(postgres.dsn())
            bench = Bench(postgres, folder, rounds, seconds)
            for row in wanted.split():
                print(f"Measuring {row}", flush=True)
                found, measured = ROWS[row](bench)
                findings += found
                figures += measured
            with psycopg.connect(postgres.dsn()) as connection:
                version = connection.info.parameter_status("server_version") or "of an unknown version"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    method = (
        f"{rounds} rounds of {seconds} s after {WARM_UP:g} s of warm-up, the servers in turn, one at a time; medians. "
        "Generator, server and PostgreSQL (its own defaults, fsync on) share the machine."
    )
    table = markdown(findings, figures, method, version.split()[0])
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table)
    print(f"\n{table}")


def prepare(database_url: str) -> None:
    """The database that all others are copies of, and the files that the pages name."""
    migrate(database_url)
    done = manage(database_url, "collectstatic", "--noinput", "--verbosity=0")
    if done.returncode:
        raise RuntimeError(done.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
