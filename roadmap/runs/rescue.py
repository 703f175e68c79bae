"""Whose worker is dead, and what then: its jobs are ended or put back, and every roadmap at work gets a job again.

Each worker looks after all of them. A worker is dead whose heartbeat has not changed for `SILENCE` seconds while
this one was looking without a break: after an outage, or a pause of its own, it waits anew, so that nobody is taken
for dead whom it could not see. One that was paused and comes back finds its runs fenced off (`events.held`).
"""

import asyncio
import logging
import time
from datetime import datetime
from typing import Any

from django.db import transaction
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

logger = logging.getLogger(__name__)


class Rescue:
    """Looks after all workers, from `run()` until it is cancelled.

    Attributes:
        workers: this process's own, by queue.
    """

    def __init__(self, threads: Threads):
        self.threads = threads
        self.workers: dict[str, Worker] = {}
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
        own = [worker.worker_id for worker in self.workers.values() if worker.worker_id is not None]
        heartbeats, doing = await self._in_thread(jobs.look_at_workers, own)
        dead = self._dead(heartbeats)
        # Jobs of these workers that they do not work on: a fetch or an end was cut. One that is just being fetched
        # looks the same, so it must be so twice.
        workers = self.workers.values()
        running = {context.job.id for worker in workers for context in worker._running_jobs.values()}
        unattended = doing - running
        lost, self._unattended = unattended & self._unattended, unattended
        queued = await self._in_thread(rescue, dead, sorted(lost))
        for roadmap_id in queued:
            logger.warning("roadmap %s had no living job; it has a new one", roadmap_id)
        if time.monotonic() - self._pruned > PRUNING:
            await self._in_thread(transaction.atomic(jobs.queue_pruning))
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
        return await self.threads.do(lambda: work(*arguments), must=True, ahead=True)


def rescue(dead: list[int], lost: list[int]) -> list[Any]:
    """End the jobs of dead workers and those lost, and queue one for each roadmap at work that has none.

    One whose jobs are lost again and again is given up, before it ends the other runs' workers for ever. Jobs are
    ended in a transaction of their own: who cancels a roadmap holds its row and waits for its job's, and nobody must
    do the opposite.
    """
    with transaction.atomic():
        if not jobs.take_turn(jobs.RESCUING):
            return []
        jobs.end_lost(dead, lost)
    with transaction.atomic():
        if not jobs.take_turn(jobs.RESCUING):
            return []
        queued = []
        for roadmap_id, losses in jobs.without_one(Roadmap.objects.at_work()).values_list("pk", "losses"):
            if losses >= MOST_LOSSES:
                logger.error("roadmap %s lost %d jobs in a row; it is given up", roadmap_id, losses)
                events.give_up(roadmap_id, LOST)
                continue
            Roadmap.objects.filter(pk=roadmap_id).update(losses=losses + 1)
            jobs.queue(roadmap_id)
            queued.append(roadmap_id)
        return queued
