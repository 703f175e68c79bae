"""A worker that was started before the first migration works once there are tables, and looks after others too."""

import secrets

import psycopg
import pytest

from tests.conftest import Database
from tests.roadmap.runs.desk import Desk
from tests.service import migrate, query, wait_until


@pytest.fixture
def unmigrated(postgres) -> Database:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn("postgres", superuser=True), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" OWNER roadmap')
    return Database(name, postgres.dsn(name), postgres.dsn(name, superuser=True))


def test_a_worker_that_was_there_before_the_tables_works_and_rescues(unmigrated, start, asks):
    worker = start("worker", unmigrated, ready=False, **asks)
    wait_until(lambda: "a look at the workers failed" in worker.log(), 20, "it misses the tables")
    migrate(unmigrated.url)
    wait_until(worker.is_ready, 20, "it is ready")
    with Desk(unmigrated, **asks) as desk:
        roadmap_id = desk.start()
        desk.wait_for(roadmap_id, "review")
        query(unmigrated.url, "UPDATE roadmap_roadmap SET state = 'drafting' RETURNING 1")
        desk.wait_for(roadmap_id, "review")
    assert "had no living job; it has a new one" in worker.log()
