"""Incident 2: a connection gone after a job of 9 minutes; errors at the commit were swallowed.

The job had kept its connection across its calls to the model, which the network cut meanwhile. Time limits were
raised. Here nothing is held while a model thinks, and a commit that fails is told of, with nothing half done.
"""

import psycopg
import pytest

from tests.fake_openai_process import fake_openai_process
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import query, wait_until

RUNS = 20
HELD = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = %s AND application_name LIKE 'roadmap_agent/worker/%%' AND state LIKE 'idle in transaction%%'
"""
# What fails at the commit, and only there.
FAIL_AT_COMMIT = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$;
    CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON roadmap_roadmap DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION fail();
"""


def test_nothing_is_held_while_models_think_for_long(start, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        worker = start("worker", database, **asking(model))
        model.fault("stall", times=RUNS, seconds=15)
        for number in range(RUNS):
            desk.start(goal=f"goal {number}")
        wait_until(lambda: model.asked()["at_once"] == RUNS, 20, "every run waits for the model")
        wait_until(lambda: in_use(worker) == 0, 3, "no connection is in use")
        assert query(database.superuser_url, HELD, database.name) == [(0,)]
        # What the network would do to connections that are idle for that long.
        query(
            database.superuser_url,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
            " AND application_name IN ('roadmap_agent/worker/orm', 'roadmap_agent/worker/checkpointer')",
            database.name,
        )
        wait_until(lambda: desk.states() == {"review": RUNS}, 40, "all go on")
        assert query(database.url, "SELECT max(attempt) FROM roadmap_roadmap") == [(1,)]


def in_use(worker) -> int:
    pools = worker.health()["pools"]
    return int(pools["orm"]["used"] + pools["checkpointer"]["used"])


def test_a_commit_that_fails_is_told_of_and_leaves_nothing(database):
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(FAIL_AT_COMMIT)
    with Desk(database) as desk, pytest.raises(RuntimeError, match="the door broke"):
        desk.start()
    assert query(database.url, "SELECT count(*) FROM roadmap_roadmap") == [(0,)]
    assert query(database.url, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]
