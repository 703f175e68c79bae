"""The jobs: a run's work, the pruning of what runs leave behind, and what becomes of those of dead workers.

A job is queued on Django's own connection, so inside the transaction that makes its row: gone with it when that
rolls back, in web and worker alike. The worker therefore gets a connector of its own by `with_connector` only;
under `replace_connector` its tasks would queue on that one, outside every transaction.
"""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from roadmap.models import AT_WORK, Roadmap, Start, State
from roadmap.server.threads import Threads

RUNS = "default"
BESIDE = "beside"  # the queue of what must not wait until a run has ended

# A run that ended well needs its checkpoints no more; one at work needs them, however long nobody could go on with it;
# the others keep theirs for a while.
THREADS = """
    SELECT id || ':' || generation FROM roadmap_roadmap
     WHERE state = ANY(%s) OR state = ANY(%s) AND updated_at > now() - make_interval(days => %s)
"""
DAY = timedelta(days=1)  # for which the start of a roadmap counts

HEARTBEATS = "SELECT id, last_heartbeat FROM procrastinate_workers"
DOING = "SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = ANY(%s)"
# Two who look at once must not both queue a job for one roadmap, nor two jobs that prune.
TURN = "SELECT pg_try_advisory_xact_lock(%s)"
RESCUING, PRUNING = 7_326_002, 7_326_003  # any numbers that nobody else uses as advisory locks
LOST = """
    SELECT id, task_name = 'password_mail' AND attempts < %s FROM procrastinate_jobs
     WHERE status = 'doing' AND (worker_id = ANY(%s) OR worker_id IS NULL OR id = ANY(%s))
       FOR UPDATE SKIP LOCKED
"""
MOST_ATTEMPTS = 5  # of an e-mail whose workers die: it may be what ends them
PUT_BACK = "SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)"
END = "SELECT procrastinate_finish_job_v1(%s, 'failed', false)"
WITHOUT_ONE = """
    NOT EXISTS (SELECT FROM procrastinate_jobs
                 WHERE lock = roadmap_roadmap.id::text AND status IN ('todo', 'doing'))
"""


@app.task(name="run", queue=RUNS, pass_context=True)
async def run(context: JobContext, roadmap_id: str) -> None:
    """Work on a roadmap, for as long as there is something to do."""
    # LangGraph and what it needs are for the worker alone; whoever queues a job imports this module too.
    from roadmap.runs.run import work

    await work(
        uuid.UUID(roadmap_id), context.additional_context["threads"], context.additional_context["still"]
    )


@app.task(name="prune", queue=BESIDE, lock="prune", pass_context=True)
async def prune(context: JobContext) -> None:
    """Delete the checkpoints that nobody will need, and jobs that ended long ago."""
    threads: Threads = context.additional_context["threads"]
    await threads.do(prune_rows, must=True)
    await context.app.job_manager.delete_old_jobs(
        settings.CHECKPOINT_DAYS * 24, include_failed=True, include_cancelled=True, include_aborted=True
    )


def prune_rows() -> None:
    """Delete the checkpoints of runs that ended well, those of others after `CHECKPOINT_DAYS`, and old starts."""
    from roadmap import checkpointer

    Start.objects.filter(at__lt=timezone.now() - DAY).delete()
    checkpointer.prune(THREADS, [[*AT_WORK], [State.REVIEW, State.FAILED], settings.CHECKPOINT_DAYS])


def queue(roadmap_id: uuid.UUID) -> None:
    """Queue a job for a roadmap, in the caller's transaction; jobs of one roadmap run one after another."""
    run.configure(lock=str(roadmap_id)).defer(roadmap_id=str(roadmap_id))


def abort(roadmap_id: uuid.UUID) -> None:
    """End a roadmap's jobs, in the caller's transaction: the one at work is cancelled where it is."""
    jobs = ProcrastinateJob.objects.filter(lock=str(roadmap_id), status__in=("todo", "doing"))
    for job_id in jobs.values_list("id", flat=True):
        app.job_manager.cancel_job_by_id(job_id, abort=True)


def queue_pruning() -> None:
    """Have checkpoints that nobody needs any more deleted soon, in the caller's transaction.

    One that waits already does for all; should it be too early for this one, the next is not: `roadmap.runs.rescue`
    queues one again and again. Procrastinate's own periodic jobs would keep an ORM connection for good: they are queued
    on Django's, in a thread that nobody tidies up. Its `queueing_lock` would not do: it reads the server's message to
    know that one waits, and breaks the caller's transaction where that is not in English.
    """
    waiting = ProcrastinateJob.objects.filter(task_name="prune", status="todo")
    if take_turn(PRUNING) and not waiting.exists():
        prune.defer()


def look_at_workers(own: list[int]) -> tuple[dict[int, datetime], set[int]]:
    """All workers' heartbeats, and the jobs that those of this process are said to work on."""
    with connection.cursor() as cursor:
        cursor.execute(HEARTBEATS)
        heartbeats = dict(cursor.fetchall())
        cursor.execute(DOING, [own])
        return heartbeats, {job_id for (job_id,) in cursor.fetchall()}


def take_turn(lock: int) -> bool:
    """Whether this is the one that may do what the lock is for, until its transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(TURN, [lock])
        return bool(cursor.fetchone()[0])


def end_lost(dead: list[int], lost: list[int]) -> None:
    """End the jobs of dead workers, and those `lost`; an e-mail is put back, as nobody queues it again."""
    with connection.cursor() as cursor:
        cursor.execute(LOST, [MOST_ATTEMPTS, dead, lost])
        for job_id, wanted in cursor.fetchall():
            cursor.execute(PUT_BACK if wanted else END, [job_id])


def without_one(roadmaps: QuerySet[Roadmap]) -> QuerySet[Roadmap]:
    """Those of the roadmaps that have no job."""
    return roadmaps.extra(where=[WITHOUT_ONE])  # noqa: S610  # a constant
