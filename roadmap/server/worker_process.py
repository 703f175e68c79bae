"""The worker's processes: one runs here; of several, each is a child and this one looks after them."""

import asyncio
import logging
import os
import signal
import sys

from roadmap.server import resources

logger = logging.getLogger(__name__)


def run_all(processes: int) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        SystemExit: a child ended by itself; the others are ended too, so that whoever started us starts all again.
    """
    if processes == 1:
        asyncio.run(run())
    else:
        sys.exit(run_children(processes))


async def run() -> None:
    """One process: its pools and its watch, until it is told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with resources.opened():
        logger.info("worker %d is running", os.getpid())
        await ended.wait()
    logger.info("worker %d has ended", os.getpid())


def run_children(processes: int) -> int:
    """Fork before anything is opened, wait for the first child to end, then end the rest."""
    children = set()
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            asyncio.run(run())
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
