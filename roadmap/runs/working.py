"""The worker's work: many runs at once on one event loop, looked after so that nothing ends it but its process.

E-mail and pruning have a small worker of their own beside the runs, which may hold all their places for minutes. It
asks for its jobs again and again, so that a process needs one connection to listen and no more.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from procrastinate.contrib.django import app
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from roadmap import checkpointer, password_mail  # noqa: F401  # a task
from roadmap.runs.connector import PatientConnector
from roadmap.runs.jobs import BESIDE, RUNS
from roadmap.runs.patience import PAUSE
from roadmap.runs.rescue import HEARTBEAT, Rescue
from roadmap.server.threads import Threads

POLL = 2.0  # seconds after which a job is found at the latest, should its notification be lost
POLL_BESIDE = 1.0  # seconds between two looks for what is to be done beside the runs
MOST_BESIDE = 4  # jobs beside the runs at once; a mail server may hang
GRACE = 5.0  # seconds that runs have to come to an end when the process ends; the rest goes on elsewhere
STOP = 10.0  # seconds for all that; a database that is away is waited for no longer
CANCEL_AGAIN = 1.0  # seconds between two cancels of what does not end
FORGET = 3600.0  # seconds after which a worker that ended without a word is no longer listed

logger = logging.getLogger(__name__)


class BeatingWorker(Worker):
    """One whose heart goes on: a worker without a heartbeat is taken for dead, while it fetches more jobs."""

    async def _update_heartbeat(self) -> None:
        while True:
            try:
                await super()._update_heartbeat()
            except Exception:
                logger.exception("a heartbeat failed; the next is in %g s", HEARTBEAT)


@contextlib.asynccontextmanager
async def working(pool: AsyncConnectionPool, threads: Threads, runs: int) -> AsyncIterator[None]:
    """Work on jobs for as long as the block, at most `runs` runs at once."""
    connector = PatientConnector()
    # Never `replace_connector`: see `roadmap.runs.jobs`.
    own = app.with_connector(connector)
    await own.open_async(pool)
    rescue = Rescue(threads)
    ending = asyncio.Event()

    def new_worker(queue: str) -> Worker:
        beside = queue == BESIDE
        return BeatingWorker(
            own,
            queues=[queue],
            concurrency=MOST_BESIDE if beside else runs,
            fetch_job_polling_interval=POLL_BESIDE if beside else POLL,
            listen_notify=not beside,
            abort_job_polling_interval=POLL,
            shutdown_graceful_timeout=GRACE,
            additional_context={"threads": threads, "still": lambda: connector.patient},
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=FORGET,
        )

    async def supervise(queue: str) -> None:
        while not ending.is_set():
            rescue.workers[queue] = worker = new_worker(queue)
            try:
                await worker.run()
            except Exception:
                logger.exception("the worker's jobs of the queue %r broke off; they start again", queue)
            if not ending.is_set():
                await asyncio.sleep(PAUSE)

    work = [asyncio.create_task(supervise(queue), name=f"jobs: {queue}") for queue in (RUNS, BESIDE)]
    looks = asyncio.create_task(rescue.run(), name="rescue")
    try:
        yield
    finally:
        ending.set()
        looks.cancel()
        for worker in rescue.workers.values():
            worker.stop()
        await asyncio.wait([*work, looks], timeout=STOP)
        connector.patient = False
        # Whoever still waits for a connection hears that there will be none.
        await pool.close()
        await checkpointer.pool().close()
        # Procrastinate waits for its jobs again after a cancel, and psycopg for its server.
        while left := [task for task in (*work, looks) if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CANCEL_AGAIN)
        await threads.close()
