"""Who cancels holds a roadmap and waits for its job; a rescue that did the opposite would deadlock with them."""

import psycopg

from tests.service import query, wait_until

LOSE = "UPDATE procrastinate_jobs SET status = 'doing' WHERE lock = %s RETURNING id"  # by no worker
ENDED = "SELECT 1 FROM procrastinate_jobs WHERE id = %s AND status = 'failed'"


def test_a_lost_job_is_ended_and_let_go_before_its_roadmap_is_waited_for(start, desk, asks, database):
    roadmap_id = desk.start()
    ((job,),) = query(database.url, LOSE, roadmap_id)
    with psycopg.connect(database.superuser_url) as other:
        other.execute("SELECT FROM roadmap_roadmap WHERE id = %s FOR UPDATE", [roadmap_id])
        start("worker", database, **asks)
        wait_until(lambda: query(database.url, ENDED, job), 5, "the job is ended though the roadmap is held")
        assert desk.state(roadmap_id) == "queued"
    desk.wait_for(roadmap_id, "review")
