"""The worker's processes: one runs here; of several, each is a child and this one looks after them."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
import uvloop
from django.conf import settings

from healthcheck import views as health
from roadmap.runs.working import working
from roadmap.server import memory, resources
from roadmap.server.cores import Together

LAST = 20.0  # seconds for a process that was told to end; longer than its work has to come to an end

logger = logging.getLogger(__name__)


def run_all(processes: int) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SystemExit: a child ended by itself; the others are ended too, so that whoever started us starts all again.
    """
    # Once for all, and before there is a loop that the first run would stop with it.
    import roadmap.runs.run  # noqa: F401

    if processes == 1:
        uvloop.run(run())
    else:
        sys.exit(run_children(processes))


async def run(number: int = 0, parent: int | None = None) -> None:
    """The process of that number: its pools and its watch, until it is told to end, or `parent` has ended."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    async with (
        resources.opened_for_worker() as worker,
        working(worker.jobs, worker.threads, settings.WORKER_RUNS),
        health_server(settings.WORKER_PORT and settings.WORKER_PORT + number),
    ):
        memory.settle()
        logger.info("worker %d is running", os.getpid())
        together = Together()
        while not ended.is_set() and parent in (None, os.getppid()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1)
            together.look()
        # A server that hangs is waited for without end, by psycopg's and LangGraph's clean-up, and in threads.
        force = threading.Timer(LAST, end_by_force)
        force.daemon = True
        force.start()
    logger.info("worker %d has ended", os.getpid())


def end_by_force() -> None:
    """As a kill would, which every run survives."""
    logger.warning("worker %d did not end in %g s, and is ended; its runs go on elsewhere", os.getpid(), LAST)
    os._exit(0)


class HealthServer(uvicorn.Server):
    """A server inside a process that has its own way with signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def health_server(port: int) -> AsyncIterator[None]:
    """Answer for this process's health on `port`, for as long as the block; 0: nobody asks.

    Of several processes each has a port of its own, one up from the last.
    """
    if not port:
        yield
        return
    host = "" if settings.PRODUCTION else "127.0.0.1"  # every address; "::" would be IPv6 alone
    config = uvicorn.Config(
        health.application, host=host, port=port, lifespan="off", log_config=None, access_log=False, ws="none"
    )
    server = HealthServer(config)
    task = asyncio.create_task(server.serve(), name="health server")
    try:
        yield
    finally:
        server.should_exit = True
        await task


def run_children(processes: int) -> int:
    """Fork before anything is opened, wait for the first child to end, then end the rest."""
    children = set()
    parent = os.getpid()
    for number in range(processes):
        pid = os.fork()
        if pid == 0:
            uvloop.run(run(number, parent))
            os._exit(0)
        children.add(pid)
    told = False

    def end(*_: object) -> None:
        nonlocal told
        told = True
        for pid in children:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    status = 0
    while children:
        pid, result = os.wait()
        children.discard(pid)
        if not told:
            logger.error("worker %d ended by itself; ending the others", pid)
            status = os.waitstatus_to_exitcode(result) or 1
            end()
    return status
