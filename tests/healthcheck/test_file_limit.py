"""Every client is an open file: the web takes as many as the system allows, and says so when that is few."""

import asyncio
import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.client import Client, run
from tests.service import PROJECT, environment, free_port, wait_until

CLIENTS = 600


@contextlib.contextmanager
def soft_limit(files: int) -> Iterator[None]:
    """What a process that is started here is given; most systems give 1,024, macOS 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_low_soft_limit_keeps_no_client_out(start, database):
    with soft_limit(256):
        web = start("web", database)

    async def all_at_once() -> list[int]:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(web.url)) for _ in range(CLIENTS)]
            # Twice, so that every connection is open, and kept alive, while all are asked for more.
            answers = [
                await asyncio.wait_for(asyncio.gather(*(c.request("GET", "/thanks") for c in clients)), 20)
                for _ in range(2)
            ]
            joined = await clients[-1].join("ada@example.com")
            return [answer.status for round_ in answers for answer in round_] + [joined.status]

    assert run(all_at_once()) == [200] * CLIENTS * 2 + [202]


def test_a_hard_limit_that_is_too_low_for_a_launch_day_is_said(tmp_path: Path):
    log = tmp_path / "web.log"
    nobody = f"postgresql://roadmap@127.0.0.1:{free_port()}/roadmap_db"
    with log.open("wb") as output:
        web = subprocess.Popen(
            ["/bin/sh", "-c", 'ulimit -n 4096 && exec "$0" -m roadmap.server', sys.executable],
            cwd=PROJECT,
            env=environment(nobody, PORT=str(free_port()), SECRET_KEY="x" * 50),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        sentence = (
            "The system allows each process 4096 open files, and every client takes one: raise the hard limit"
        )
        wait_until(lambda: "Listening at" in log.read_text(), 30, "it has started")
        assert sentence in log.read_text()
    finally:
        web.terminate()
        web.wait(30)
