"""A busy worker keeps its threads on one core, so that the others are the web's."""

import os

from tests.roadmap.runs.desk import Desk
from tests.service import are_on_one_core, cores_of_threads, wait_until


def test_a_busy_worker_keeps_its_threads_on_one_core(start, model, asks, database):
    pid = start("worker", database, **asks).process.pid
    everywhere = os.sched_getaffinity(0)
    assert len(everywhere) > 1, "this test needs two cores"
    with Desk(database, **asks) as desk:
        for number in range(40):
            desk.start(goal=f"goal {number}")
        wait_until(lambda: are_on_one_core(cores_of_threads(pid)), 30, "they share a core")
        wait_until(lambda: desk.states() == {"review": 40}, 60, "all wait for their review")
        wait_until(lambda: all(cores == everywhere for cores in cores_of_threads(pid)), 10, "they are let go")
