"""The jobs: a run's work, and the pruning of what runs leave behind.

A job is queued on Django's own connection, so inside the transaction that makes its row: gone with it when that
rolls back, in web and worker alike. The worker therefore gets a connector of its own by `with_connector` only;
under `replace_connector` its tasks would queue on that one, outside every transaction.
"""

import contextlib
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from procrastinate import JobContext
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import AlreadyEnqueued

from roadmap.models import UNFINISHED, Start, State
from roadmap.server.threads import Threads

PRUNE = """
    DELETE FROM {table} WHERE thread_id NOT IN (
        SELECT id || ':' || generation FROM roadmap_roadmap
         WHERE state = ANY(%s) AND updated_at > now() - make_interval(days => %s)
    )
"""
# A run that ended well needs its checkpoints no more; the others keep theirs for a while.
KEPT = [*UNFINISHED, State.FAILED]
DAY = timedelta(days=1)  # for which the start of a roadmap counts
CHECKPOINT_TABLES = ("checkpoint_writes", "checkpoint_blobs", "checkpoints")


@app.task(name="run", pass_context=True)
async def run(context: JobContext, roadmap_id: str) -> None:
    """Work on a roadmap, for as long as there is something to do."""
    # LangGraph and what it needs are for the worker alone; whoever queues a job imports this module too.
    from roadmap.runs.run import work

    await work(
        uuid.UUID(roadmap_id), context.additional_context["threads"], context.additional_context["still"]
    )


@app.task(name="prune", lock="prune", queueing_lock="prune", pass_context=True)
async def prune(context: JobContext) -> None:
    """Delete the checkpoints that nobody will need, and jobs that ended long ago."""
    threads: Threads = context.additional_context["threads"]
    await threads.submit(prune_rows, must=True).done
    await context.app.job_manager.delete_old_jobs(
        settings.CHECKPOINT_DAYS * 24, include_failed=True, include_cancelled=True, include_aborted=True
    )


def prune_rows() -> None:
    """Delete the checkpoints of runs that ended well, those of others after `CHECKPOINT_DAYS`, and old starts."""
    Start.objects.filter(at__lt=timezone.now() - DAY).delete()
    with connection.cursor() as cursor:
        for table in CHECKPOINT_TABLES:
            cursor.execute(PRUNE.format(table=table), [KEPT, settings.CHECKPOINT_DAYS])


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
    on Django's, in a thread that nobody tidies up.
    """
    with contextlib.suppress(AlreadyEnqueued), transaction.atomic():
        prune.defer()
