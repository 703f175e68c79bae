"""The server at its `max_connections`: everybody says so, who is connected goes on, and all recovers."""

import contextlib
import time
from collections.abc import Iterator

import psycopg
import pytest

from healthcheck.watch import GONE
from tests.client import join_all, run
from tests.conftest import Database, copy_database
from tests.people import sign_in
from tests.service import manage, migrate, query, wait_until
from tests.temporary_postgres import temporary_postgres

LIMIT = 60  # the development plan needs 43 and a reserve of 2, of the 57 that an ordinary role may have


@pytest.fixture
def small_database() -> Iterator[Database]:
    with temporary_postgres(max_connections=LIMIT, settings={"fsync": "off"}) as server:
        migrate(server.dsn())
        yield copy_database(server)


def cut(database: Database, pool: str) -> None:
    query(
        database.superuser_url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s",
        f"roadmap_agent/web/{pool}",
    )


class Fillers:
    """Another service that takes every connection there is."""

    def __init__(self, database: Database):
        self.database = database
        self.connections: list[psycopg.Connection] = []

    def take_all(self) -> None:
        """Until the server refuses."""
        with contextlib.suppress(psycopg.OperationalError):
            while len(self.connections) < LIMIT:
                self.connections.append(
                    psycopg.connect(self.database.url, application_name="another service", autocommit=True)
                )

    def leave(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()


@pytest.fixture
def fillers(small_database) -> Iterator[Fillers]:
    fillers = Fillers(small_database)
    yield fillers
    fillers.leave()


def test_who_is_connected_goes_on_and_everybody_says_what_is_so(start, small_database, fillers):
    web = start("web", small_database)
    cookie = sign_in(web, small_database)
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled")

    assert manage(small_database.url, "check_pools").returncode == 1, "a warning: no deploy with overlap fits"

    fillers.take_all()
    assert len(fillers.connections) > 30
    wait_until(lambda: over_the_line(web), 3, "it warns that the server is filling up")
    # The watch's place goes to the other service, as after any reconnect at such a time.
    cut(small_database, "watch")
    fillers.take_all()

    wait_until(lambda: web.health()["faults"]["server_refused"] >= 1, 5, "the watch is refused")
    health = wait_until(
        lambda: said(web, "the database does not answer the watch connection"), 5, "the watch has no answer"
    )
    assert health["status"] == "warn"
    assert "server_refused within the last minute" in health["notes"]
    wait_until(
        lambda: web.get("/health/ready").json().get("reason") == "server_refused",
        5,
        "readiness has the reason",
    )
    assert web.get("/health/ready").status_code == 503

    checked = manage(small_database.url, "check_pools")
    assert checked.returncode == 3
    assert "connection" in checked.stdout + checked.stderr
    assert "slots" in checked.stdout + checked.stderr or "too many clients" in checked.stdout + checked.stderr
    assert "Traceback" not in checked.stdout + checked.stderr

    answers = run(join_all(web.url, [f"person{n}@example.com" for n in range(500)], clients=50))
    assert {answer.status for answer in answers.values() if answer} == {202}
    assert len(answers) == 500
    assert None not in answers.values()
    assert web.get("/admin/", headers={"Cookie": cookie}).status_code == 200

    stays_served(web, 2 * GONE)

    fillers.leave()
    wait_until(web.is_ready, 3, "it is ready again")
    assert manage(small_database.url, "check_pools").returncode == 1
    assert not said(web, "the database does not answer the watch connection")


def stays_served(web, seconds: float) -> None:
    """However long the watch is refused: the server is there, and so are the pools' connections."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
        assert web.join(f"while full {number}@example.com".replace(" ", ".")).status_code == 202
        health = web.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "warn")


def over_the_line(web) -> bool:
    health = web.health()
    line = "connections are open on the server, over the line of 45"
    return health["status"] == "warn" and any(line in note for note in health["notes"])


def said(web, note: str):
    health = web.health()
    return health if note in health["notes"] else None


def test_a_join_writer_that_is_refused_its_connection_says_503_until_it_gets_one(
    start, small_database, fillers
):
    web = start("web", small_database)
    fillers.take_all()
    cut(small_database, "joins")
    fillers.take_all()
    refused = web.join("ada@example.com")
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert web.health()["faults"]["server_refused"] >= 1
    fillers.leave()
    wait_until(lambda: web.join("ada@example.com").status_code == 202, 3, "joins work again")
    assert query(small_database.url, "SELECT email FROM waitlist_entry") == [("ada@example.com",)]
