"""Incident 3: the checkpoint write fails at the human review.

Its connection had been idle while a person read the outline. Here it is checked before it is used, and a write that is
cut in flight is repeated.
"""

import psycopg

from tests.fake_openai_process import fake_openai_process
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import query, wait_until

CUT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = %s AND application_name = 'roadmap_agent/worker/checkpointer'
"""
WRITING = CUT.replace("pg_terminate_backend(pid, 5000)", "pid") + " AND wait_event_type = 'Lock'"


def test_a_review_is_taken_up_when_its_idle_connections_are_dead_and_its_write_is_cut(start, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        start("worker", database, **asking(model))
        roadmap_id = desk.start()
        desk.wait_for(roadmap_id, "review")
        assert query(database.superuser_url, CUT, database.name), "idle connections, cut"
        with psycopg.connect(database.superuser_url) as holder:
            holder.execute("LOCK TABLE checkpoint_writes IN EXCLUSIVE MODE")
            desk.approve(roadmap_id)
            wait_until(
                lambda: query(database.superuser_url, WRITING, database.name), 10, "the decision is written"
            )
            assert query(database.superuser_url, CUT, database.name), "a write, cut in flight"
            holder.rollback()
        desk.wait_for(roadmap_id, "ready")
        assert all(desk.lessons(roadmap_id).values())
        assert desk.field(roadmap_id, "attempt") == 3, "a job drafted, a person approved, and a job wrote"
        assert max(model.asked()["lessons"].values()) == 1
