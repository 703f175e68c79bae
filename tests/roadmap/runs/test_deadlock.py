"""Somebody whose request the server ends in favour of another's transaction hears when to come back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from tests.people import sign_in
from tests.service import Service, query, wait_until

# Who has waited that long looks for a deadlock, and is ended if there is one: the request, never the test.
SOON = "ALTER ROLE roadmap IN DATABASE {} SET deadlock_timeout = '2s'"
NEVER = "SET deadlock_timeout = '10min'"
HOLD_JOB = "SELECT FROM procrastinate_jobs WHERE lock = %s FOR UPDATE"
HOLD_ROADMAP = "SELECT FROM roadmap_roadmap WHERE id = %s FOR UPDATE"
WAITING = """
    SELECT count(*)::int FROM pg_stat_activity
     WHERE datname = current_database() AND wait_event_type = 'Lock'
       AND application_name LIKE 'roadmap_agent/web/%'
"""
TO_STAFF = "UPDATE roadmap_roadmap SET owner_id = (SELECT max(id) FROM auth_user) RETURNING 1"


@pytest.fixture
def hurried_web(start, database) -> Service:
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(SOON.format(database.name))
    return start("web", database)


def in_a_deadlock(database, roadmap_id: str, cancel: Callable[[], httpx.Response]) -> httpx.Response:
    """The answer to a cancel, which holds the roadmap and waits for its job; another does the opposite."""
    with psycopg.connect(database.superuser_url) as other, ThreadPoolExecutor(1) as elsewhere:
        other.execute(NEVER)
        other.execute(HOLD_JOB, [roadmap_id])
        answer = elsewhere.submit(cancel)
        wait_until(lambda: query(database.superuser_url, WAITING)[0][0], 10, "the request waits for the job")
        other.execute(HOLD_ROADMAP, [roadmap_id])
        return answer.result()


def test_a_program_hears_when_to_come_back(hurried_web, desk, database):
    roadmap_id = desk.start()
    token = {"Authorization": f"Bearer {desk.token()}"}

    def cancel() -> httpx.Response:
        return httpx.post(f"{hurried_web.url}/api/v1/roadmaps/{roadmap_id}/cancel", headers=token, timeout=20)

    answer = in_a_deadlock(database, roadmap_id, cancel)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    assert f"'/api/v1/roadmaps/{roadmap_id}/cancel' gave way: deadlock detected" in hurried_web.log()
    assert desk.state(roadmap_id) == "queued"
    assert cancel().status_code == 202
    assert desk.state(roadmap_id) == "cancelled"


def test_a_person_is_shown_the_page_for_it(hurried_web, desk, database):
    roadmap_id = desk.start()
    csrf = "c" * 32
    headers = {"Cookie": f"{sign_in(hurried_web, database)}; csrftoken={csrf}", "X-CSRFToken": csrf}
    query(database.url, TO_STAFF)

    def cancel() -> httpx.Response:
        return httpx.post(f"{hurried_web.url}/roadmaps/{roadmap_id}/cancel/", headers=headers, timeout=20)

    answer = in_a_deadlock(database, roadmap_id, cancel)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"].startswith("text/html")
    assert desk.state(roadmap_id) == "queued"
    assert cancel().status_code == 302
    assert desk.state(roadmap_id) == "cancelled"
