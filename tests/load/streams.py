"""5,000 open streams of progress on one process: their connections, how late events are, and what memory they take."""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.load.activity import watched
from tests.load.bench import Bench, Run, Target
from tests.load.servers import OURS
from tests.load.table import Figures, Finding, compare
from tests.service import PROJECT, Service, environment

STREAMS = 5_000
RATE = 100.0  # events per second, of all roadmaps together
SECONDS = 20.0  # of events, whatever the rounds are
QUIET = 3.0  # seconds without events, in which the streams' connections are counted
LATE = 2.0  # seconds that the last events may take
END = 60.0  # seconds that a program may take longer
LOOK = 0.05  # seconds between two looks at the connections

# What is in use, and what is in no pool: everything that a stream could hold.
HELD = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = %s AND backend_type = 'client backend'
       AND (state <> 'idle' OR application_name LIKE '%%/watch')
"""


@dataclass(frozen=True)
class Open:
    """What one round has shown. `held`: connections at most while no event came; `memory`: bytes for each stream."""

    run: Run
    held: int
    memory: float


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    rounds = []
    for _ in range(bench.rounds):
        with bench.running(OURS) as target:
            rounds.append(hold(target))
    what = f"{STREAMS:,} streams"
    findings = [
        compare(f"{what}: database connections", [r.held for r in rounds], 1, most=True, unit=""),
        compare(f"{what}: p99 event delay", [r.run.p99 * 1000 for r in rounds], 250, most=True, unit="ms"),
        compare(f"{what}: memory each", [r.memory / 1024 for r in rounds], 64, most=True, unit="KiB"),
        compare(f"{what}: events missed or doubled", [r.run.failed for r in rounds], 0, most=True, unit=""),
    ]
    return findings, [Figures(f"events to {what}", OURS, STREAMS, [r.run for r in rounds])]


def hold(target: Target) -> Open:
    """Open the streams, count what they hold, have events recorded, and collect them."""
    roadmaps = program(target, "make", str(STREAMS))
    with readers(target, roadmaps[:1]):
        pass  # what the first stream imports is not what a stream takes
    before = memory(target)
    with readers(target, roadmaps) as reading:
        held = count_held(target)
        with watched(target.superuser_url, target.database) as most:
            recorded = program(target, "record", str(RATE), str(SECONDS), given=json.dumps(roadmaps))
        time.sleep(LATE)
        grown = memory(target) - before
    delays = sorted(reading.result["seconds"])
    wrong = reading.result["lost"] + reading.result["out_of_turn"] + abs(recorded - len(delays))
    run = Run(
        rate=len(delays) / SECONDS,
        p50=delays[len(delays) // 2],
        p99=delays[len(delays) * 99 // 100],
        failed=wrong,
        answered=len(delays),
        in_use=most.in_use,
        open=most.open,
    )
    return Open(run, held, grown / STREAMS)


def count_held(target: Target) -> int:
    most, ends = 0, time.monotonic() + QUIET
    with psycopg.connect(target.superuser_url, autocommit=True) as connection:
        while time.monotonic() < ends:
            row = connection.execute(HELD, [target.database]).fetchone()
            assert row is not None
            most = max(most, row[0])
            time.sleep(LOOK)
    return most


def memory(target: Target) -> int:
    """Bytes that the web's one process has resident."""
    assert isinstance(target.server, Service)
    (pid,) = target.server.worker_pids()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@dataclass
class Reading:
    """What the readers have had, once they have ended."""

    result: dict[str, Any]


@contextlib.contextmanager
def readers(target: Target, roadmaps: list[tuple[str, str]]) -> Iterator[Reading]:
    """A process that reads the streams of these roadmaps; all are open when the block begins.

    Raises:
        RuntimeError: it ended with an error.
    """
    reading = Reading({})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.load.readers", target.url.removeprefix("http://")],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(roadmaps) + "\n")
        process.stdin.flush()
        # It bounds its time by itself.
        if not process.stdout.readline():
            raise RuntimeError(f"The readers ended with {process.wait(END)}, and said why above.")
        yield reading
        said, _ = process.communicate(timeout=END)
        if process.returncode:
            raise RuntimeError(f"The readers ended with {process.returncode}, and said why above.")
        reading.result = json.loads(said)
    finally:
        process.kill()
        process.wait()


def program(target: Target, *arguments: str, given: str = "") -> Any:
    """What `tests.load.steps` prints.

    Raises:
        RuntimeError: it ended with an error.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.load.steps", *arguments],
        cwd=PROJECT,
        env=environment(target.database_url),
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS + END,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"tests.load.steps ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)
