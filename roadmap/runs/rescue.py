"""Whose worker is dead, and what then: its jobs are ended, and every roadmap at work gets a job again.

Each worker looks after all of them. A worker is dead whose heartbeat has not changed for `SILENCE` seconds while
this one was looking without a break: after an outage, or a pause of its own, it waits anew, so that nobody is taken
for dead whom it could not see. One that was paused and comes back finds its runs fenced off (`events.held`).
"""

import asyncio
import logging
import time
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from procrastinate.worker import Worker

from healthcheck import faults
from roadmap.models import Roadmap
from roadmap.runs import events, jobs
from roadmap.server.threads import Threads

HEARTBEAT = 1.0  # seconds between two of a worker's
LOOK = 1.0  # seconds between two looks at all workers
SILENCE = 5.0  # seconds
PRUNING = 600.0  # seconds between two prunings
BREAK = 3.0  # seconds without a look, after which what was seen before counts no more
MOST_LOSSES = 5  # jobs of one roadmap that may be lost in a row: it may be what ends its workers
LOST = "This roadmap’s work broke off again and again, so it was given up; you can try again."
LOCK = 7_326_002  # any number that nobody else uses as an advisory lock

HEARTBEATS = "SELECT id, last_heartbeat FROM procrastinate_workers"
DOING = "SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = %s"
# Two who look at once must not both queue a job for one roadmap.
TURN = "SELECT pg_try_advisory_xact_lock(%s)"
END_JOBS = """
    SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM (
        SELECT id FROM procrastinate_jobs
         WHERE status = 'doing' AND (worker_id = ANY(%s) OR worker_id IS NULL OR id = ANY(%s))
           FOR UPDATE SKIP LOCKED
    ) lost
"""
WITHOUT_JOB = """
    NOT EXISTS (SELECT FROM procrastinate_jobs
                 WHERE lock = roadmap_roadmap.id::text AND status IN ('todo', 'doing'))
"""

logger = logging.getLogger(__name__)


class Rescue:
    """Looks after all workers, from `run()` until it is cancelled.

    Attributes:
        worker: this process's own, or None while there is none.
    """

    def __init__(self, threads: Threads):
        self.threads = threads
        self.worker: Worker | None = None
        self._seen: dict[int, tuple[datetime, float]] = {}  # a worker's heartbeat, and since when it is that
        self._looked = float("-inf")
        self._unattended: set[int] = set()
        self._pruned = float("-inf")

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                if fault := faults.classify(error):
                    faults.record(fault, "the rescue", error)
                else:
                    # Whatever it is, it may pass: tables that are not there yet, for one.
                    logger.exception("a look at the workers failed; the next is in %g s", LOOK)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Look once, and help where help is needed."""
        worker_id = self.worker.worker_id if self.worker else None
        heartbeats, doing = await self._in_thread(look_at_workers, worker_id)
        dead = self._dead(heartbeats)
        # Jobs of this worker that it does not work on: a fetch or an end was cut. One that is just being fetched
        # looks the same, so it must be so twice.
        running = {context.job.id for context in self.worker._running_jobs.values()} if self.worker else set()
        unattended = doing - running
        lost, self._unattended = unattended & self._unattended, unattended
        queued = await self._in_thread(rescue, dead, sorted(lost))
        for roadmap_id in queued:
            logger.warning("roadmap %s had no living job; it has a new one", roadmap_id)
        if time.monotonic() - self._pruned > PRUNING:
            await self._in_thread(jobs.queue_pruning)
            self._pruned = time.monotonic()

    def _dead(self, heartbeats: dict[int, datetime]) -> list[int]:
        now = time.monotonic()
        if now - self._looked > BREAK:
            self._seen.clear()
        self._looked = now
        self._seen = {
            worker: self._seen[worker] if self._seen.get(worker, (None,))[0] == beat else (beat, now)
            for worker, beat in heartbeats.items()
        }
        return [worker for worker, (_, since) in self._seen.items() if now - since >= SILENCE]

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await self.threads.submit(lambda: work(*arguments), must=True).done


def look_at_workers(worker_id: int | None) -> tuple[dict[int, datetime], set[int]]:
    """All workers' heartbeats, and the jobs that this one is said to work on."""
    with connection.cursor() as cursor:
        cursor.execute(HEARTBEATS)
        heartbeats = dict(cursor.fetchall())
        cursor.execute(DOING, [worker_id])
        return heartbeats, {job_id for (job_id,) in cursor.fetchall()}


def rescue(dead: list[int], lost: list[int]) -> list[Any]:
    """End the jobs of dead workers and those lost, and queue one for each roadmap at work that has none.

    One whose jobs are lost again and again is given up, before it ends the other runs' workers for ever.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TURN, [LOCK])
        if not cursor.fetchone()[0]:
            return []
        cursor.execute(END_JOBS, [dead, lost])
        without = Roadmap.objects.at_work().extra(where=[WITHOUT_JOB])  # noqa: S610  # a constant
        queued = []
        for roadmap_id, losses in without.values_list("pk", "losses"):
            if losses >= MOST_LOSSES:
                logger.error("roadmap %s lost %d jobs in a row; it is given up", roadmap_id, losses)
                events.give_up(roadmap_id, LOST)
                continue
            Roadmap.objects.filter(pk=roadmap_id).update(losses=losses + 1)
            jobs.queue(roadmap_id)
            queued.append(roadmap_id)
        return queued
