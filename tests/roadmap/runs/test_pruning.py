"""Checkpoints of runs that failed, or that nobody went on with, are kept for `CHECKPOINT_DAYS` and then deleted."""

from typing import Any

from tests.inside import inside
from tests.service import query

AGED = "UPDATE roadmap_roadmap SET state = %s, updated_at = now() - make_interval(days => %s) WHERE id = %s RETURNING 1"
CHECKPOINT = (
    "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, checkpoint, metadata)"
    " VALUES (%s, '', '1', '{}', '{}') RETURNING 1"
)
KEPT = {
    ("failed", 13, 0): True,
    ("failed", 15, 0): False,
    ("review", 13, 0): True,
    ("review", 15, 0): False,
    ("queued", 15, 0): True,  # at work, however long nothing could be done for it
    ("drafting", 15, 0): True,
    ("writing", 0, 0): True,
    ("writing", 15, 0): True,
    ("writing", 0, 1): False,  # of a generation that is not the roadmap's
    ("ready", 0, 0): False,
    ("ready_with_gaps", 0, 0): False,
    ("cancelled", 0, 0): False,
}


async def prune(arguments: dict[str, Any]) -> None:
    from roadmap.runs.jobs import prune_rows

    await arguments["opened"].threads.submit(prune_rows).done


def test_checkpoints_are_kept_for_as_long_as_somebody_may_need_them(desk, database):
    threads = {}
    for state, days, generation in KEPT:
        roadmap_id = desk.start()
        query(database.url, AGED, state, days, roadmap_id)
        threads[f"{roadmap_id}:{generation}"] = (state, days, generation)
    deleted = desk.start()
    threads[f"{deleted}:0"] = ("deleted", 0, 0)
    for thread in threads:
        query(database.url, CHECKPOINT, thread)
    desk.call("delete", deleted)
    inside("worker", database, prune)
    left = {threads[thread] for (thread,) in query(database.url, "SELECT thread_id FROM checkpoints")}
    assert left == {case for case, kept in KEPT.items() if kept}
