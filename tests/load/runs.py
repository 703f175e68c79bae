"""100 runs at once, 5 ms from the database each way: their checkpoints, with a saver for each and with one for all."""

import asyncio
import json
import secrets
import sys
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.load.activity import watched
from tests.load.bench import Bench, Run
from tests.load.servers import OURS
from tests.load.table import Figures, Finding, compare
from tests.proxy import Proxy
from tests.service import PROJECT, environment

RUNS = 100
LATENCY = 0.005  # seconds, each way
SECONDS = 15.0  # long enough for phases of the runs to mix, whatever the rounds are
END = 90.0  # seconds that the program may take longer
SHARED = "shared saver"
KINDS = {OURS: "own", SHARED: "shared"}


@dataclass(frozen=True)
class Working:
    """The runs' operations, and one run's writes with nothing else going on; seconds."""

    run: Run
    alone: float
    round_trip: float
    pool: int
    processor: float  # of the runs' process, as a share of one core

    @property
    def bound(self) -> float:
        """Operations per second that the pool could do, if each took as long as a write alone."""
        return self.pool / self.alone


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    found: dict[str, list[Working]] = {name: [] for name in KINDS}
    for number in range(bench.rounds):
        for name in bench.order(list(KINDS), number):
            found[name].append(uvloop.run(work(bench, KINDS[name])))
    figures = [
        Figures("checkpoints of 100 runs, 5 ms away", name, RUNS, [working.run for working in measured])
        for name, measured in found.items()
    ]
    return judge(found[OURS], found[SHARED]), figures


def judge(ours: list[Working], shared: list[Working]) -> list[Finding]:
    pairs = zip(ours, shared, strict=True)
    what = "100 runs, 5 ms to the database"
    return [
        compare(
            f"{what}: a round trip",
            [w.round_trip * 1000 for w in [*ours, *shared]],
            2 * LATENCY * 1000,
            unit="ms",
        ),
        compare(f"{what}: pool size ÷ one write’s time", [w.run.rate / w.bound for w in ours], 0.8, unit="%"),
        compare(f"{what}: one shared saver", [our.run.rate / their.run.rate for our, their in pairs], 6),
    ]


async def work(bench: Bench, kind: str) -> Working:
    """The runs in a process of their own, and the way to the database in this one."""
    superuser_url = bench.postgres.dsn("postgres", superuser=True)
    with bench.database() as database:
        url = bench.postgres.dsn(database)
        proxy = Proxy("127.0.0.1", bench.postgres.port, latency=LATENCY)
        async with proxy.running():
            far_url = url.replace(f":{bench.postgres.port}/", f":{proxy.own_port}/")
            with watched(superuser_url, database) as most:
                result = await program(far_url, kind)
    times = result["times"]
    run = Run(
        rate=result["operations"] / result["seconds"],
        p50=times["p50"],
        p99=times["p99"],
        failed=0,
        answered=result["operations"],
        in_use=most.in_use,
        open=most.open,
    )
    return Working(
        run,
        result["alone"]["p50"],
        result["round_trip"],
        result["pool"],
        result["processor"] / result["seconds"],
    )


async def program(database_url: str, kind: str) -> dict[str, Any]:
    """What `tests.load.checkpoints` prints.

    Raises:
        RuntimeError: it ended with an error.
        TimeoutError: it did not end in time.
    """
    production = {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(32),
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.load.checkpoints",
        kind,
        str(RUNS),
        str(SECONDS),
        cwd=PROJECT,
        env=environment(database_url, **production),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS + END):
            said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"The runs ended with {process.returncode}: {complaint.decode()}")
    result: dict[str, Any] = json.loads(said)
    return result
