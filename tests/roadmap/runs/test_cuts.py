"""Connections cut while runs are at work and while they wait, and a database that is away: all finish by themselves."""

import time

import pytest

from tests.roadmap.runs.desk import Desk
from tests.service import query, wait_until

pytestmark = pytest.mark.long

CUT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = %s AND application_name LIKE 'roadmap_agent/worker/%%' AND application_name LIKE %s
"""


def test_every_checkpointer_connection_cut_while_50_runs_work_and_50_wait(start, desk, model, asks, database):
    model.settings(concepts=2)
    start("worker", database, **asks, WORKER_RUNS="60")
    waiting = [desk.start(goal="waits") for _ in range(50)]
    wait_until(lambda: desk.states() == {"review": 50}, 60, "fifty wait")
    model.settings(delay=0.4)
    working = [desk.start(goal="works") for _ in range(50)]
    wait_until(lambda: model.asked()["steps"]["understand"] >= 100, 30, "fifty are at work")
    cut = 0
    for _ in range(5):
        cut += len(query(database.superuser_url, CUT, database.name, "%/checkpointer"))
        time.sleep(0.3)  # so that it hits them in different steps
    assert cut >= 5
    model.settings(delay=0.0)
    wait_until(lambda: desk.states() == {"review": 100}, 60, "the working ones wait too")
    query(database.superuser_url, CUT, database.name, "%/checkpointer")
    for roadmap_id in (*waiting, *working):
        desk.approve(roadmap_id)
    query(database.superuser_url, CUT, database.name, "%/checkpointer")
    wait_until(lambda: desk.states() == {"ready": 100}, 90, "all are ready")
    assert model.asked()["steps"]["lesson"] == 100 * 4, "no lesson was asked for twice"
    assert query(database.url, "SELECT max(attempt) FROM roadmap_roadmap") == [(3,)], "no run was begun again"


def test_every_connection_of_the_worker_cut_again_and_again(start, desk, model, asks, database):
    model.settings(delay=0.2)
    worker = start("worker", database, **asks)
    roadmaps = [desk.start(goal=f"goal {number}") for number in range(10)]
    for _ in range(6):
        query(database.superuser_url, CUT, database.name, "%")
        time.sleep(0.3)  # so that it hits them in different steps
    wait_until(lambda: desk.states() == {"review": 10}, 60, "all wait")
    for roadmap_id in roadmaps:
        desk.approve(roadmap_id)
    for _ in range(6):
        query(database.superuser_url, CUT, database.name, "%")
        time.sleep(0.3)
    wait_until(lambda: desk.states() == {"ready": 10}, 60, "all are ready")
    for roadmap_id in roadmaps:
        announced = [data["concept"] for _, kind, data in desk.events(roadmap_id) if kind == "lesson"]
        assert sorted(announced) == [f"c{number}" for number in range(1, 7)]
    wait_until(lambda: worker.health()["status"] != "fail", 5, "it is well")


def test_the_database_away_for_60_s_while_20_runs_are_at_work(start, model, asks, own_postgres, own_database):
    model.settings(delay=0.3)
    with Desk(own_database, **asks) as desk:
        worker = start("worker", own_database, **asks)
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(20)]
        for roadmap_id in roadmaps[:10]:
            desk.wait_for(roadmap_id, "review", 60)
            desk.approve(roadmap_id)
    wait_until(lambda: model.asked()["steps"].get("lesson", 0) > 5, 20, "lessons are being written")
    own_postgres.stop("immediate")
    time.sleep(60)  # the outage itself
    own_postgres.start()
    back = time.monotonic()
    with Desk(own_database, **asks) as desk:
        wait_until(lambda: desk.states() == {"ready": 10, "review": 10}, 60, "all go on")
        took = time.monotonic() - back
        for roadmap_id in roadmaps[10:]:
            desk.approve(roadmap_id)
        wait_until(lambda: desk.states() == {"ready": 20}, 30, "all are ready")
        assert took < 45
        assert max(model.asked()["lessons"].values()) <= 2
        new = desk.start(goal="after")
        desk.wait_for(new, "review")
    assert worker.process.poll() is None
    assert worker.health()["status"] in ("pass", "warn")


def test_a_worker_stopped_while_the_database_is_away_ends(start, model, asks, own_postgres, own_database):
    model.settings(delay=0.5)
    worker = start("worker", own_database, **asks, ORM_THREADS="1")
    with Desk(own_database, **asks) as desk:
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(20)]
        for roadmap_id in roadmaps[:10]:
            desk.wait_for(roadmap_id, "review", 60)
            desk.approve(roadmap_id)
    wait_until(lambda: model.asked()["steps"].get("lesson", 0) > 5, 20, "lessons are being written")
    own_postgres.stop("immediate")

    def everything_waits() -> bool:
        health = worker.health()
        return health["threads"]["waiting"] and all(
            health["pools"][pool]["waiting"] for pool in ("orm", "checkpointer")
        )

    wait_until(everything_waits, 20, "threads and connections are waited for")
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 20
    own_postgres.start()
    assert query(own_database.url, "SELECT count(*) FROM roadmap_roadmap WHERE state = 'failed'") == [(0,)]
