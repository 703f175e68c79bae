"""Two workers and 50 runs, one worker paused for 30 s and let go: nothing is written twice."""

import os
import signal
import time

import pytest

from tests.service import query, wait_until

pytestmark = pytest.mark.long

RUNS = 50
PAUSE = 30.0
TWICE = """
    SELECT count(*) FROM (SELECT roadmap_id, data->>'concept' FROM roadmap_event WHERE kind = 'lesson'
                           GROUP BY 1, 2 HAVING count(*) > 1) twice
"""


def test_a_paused_worker_comes_back_and_writes_nothing(start, desk, model, asks, database):
    model.settings(delay=1.0)
    paused, other = (start("worker", database, **asks, WORKER_RUNS="30") for _ in range(2))
    roadmaps = [desk.start(goal=f"goal {number}") for number in range(RUNS)]
    for half in (roadmaps[::2], roadmaps[1::2]):  # so that they are in different places
        for roadmap_id in half:
            desk.wait_for(roadmap_id, "review", 60)
            desk.approve(roadmap_id)
    wait_until(lambda: at_work_by_worker(database) == 2, 20, "both are at work")
    os.kill(paused.process.pid, signal.SIGSTOP)
    let_go = time.monotonic() + PAUSE
    try:
        wait_until(lambda: at_work_by_worker(database) == 1, 10, "the other one has taken them all")
        wait_until(lambda: time.monotonic() > let_go, PAUSE, "the pause is over")
    finally:
        os.kill(paused.process.pid, signal.SIGCONT)
    lost = "is no longer this job's"
    wait_until(lambda: lost in paused.log(), 15, "it finds that its runs are another's")
    wait_until(lambda: desk.states() == {"ready": RUNS}, 60, "all are ready")
    more = desk.start(goal="more")
    desk.wait_for(more, "review")
    assert query(database.url, TWICE) == [(0,)]
    for roadmap_id in roadmaps:
        numbers = [number for number, _, _ in desk.events(roadmap_id)]
        assert numbers == list(range(1, len(numbers) + 1))
        statuses = [data["status"] for _, kind, data in desk.events(roadmap_id) if kind == "status"]
        assert statuses.count("ready") == 1
    assert desk.states() == {"ready": RUNS, "review": 1}
    assert lost not in other.log()


def at_work_by_worker(database) -> int:
    statement = "SELECT count(DISTINCT worker_id) FROM procrastinate_jobs WHERE status = 'doing'"
    return int(query(database.url, statement)[0][0])
