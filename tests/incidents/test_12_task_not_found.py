"""Incident 12: "task not found" right after creating it.

The job was queued before the commit, so it could run before its row was there; it then read again, up to ten times.
Here row and job are of one transaction: no job finds nothing, and none is left of what was rolled back.
`tests/roadmap/runs/test_door.py` shows the latter in web and worker.
"""

import psycopg

from tests.fake_openai_process import fake_openai_process
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import query, wait_until

SLOW_COMMIT = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON roadmap_roadmap DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION slow();
"""


def test_a_job_never_runs_before_its_row_is_there_however_slow_the_commit(start, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        with psycopg.connect(database.superuser_url, autocommit=True) as connection:
            connection.execute(SLOW_COMMIT)
        start("worker", database, **asking(model))
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(10)]
        wait_until(lambda: desk.states() == {"review": 10}, 30, "all are drafted")
        jobs = query(
            database.url, "SELECT lock, status, attempts FROM procrastinate_jobs WHERE task_name = 'run'"
        )
        assert sorted(jobs) == sorted((roadmap_id, "succeeded", 1) for roadmap_id in roadmaps)
        attempts = query(database.url, "SELECT DISTINCT attempt FROM roadmap_roadmap")
        assert attempts == [(1,)], "each job found its row at once"
