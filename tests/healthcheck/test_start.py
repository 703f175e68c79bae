"""What the web's master process does before it starts anything: it holds the plan against the server."""

from collections.abc import Callable

import httpx

from tests.conftest import Database
from tests.service import Service, connections_by_name, free_port, wait_until


def test_nothing_of_the_look_at_the_server_stays_open(database: Database, web: Service):
    names = connections_by_name(database.superuser_url, database.name)
    assert "roadmap_agent/web/watch" in names
    assert "roadmap_agent/command" not in names


def test_a_plan_that_is_over_the_limit_keeps_it_from_starting(
    start: Callable[..., Service], database: Database
):
    web = start("web", database, ready=False, WEB_INSTANCES="9")
    assert web.process is not None
    assert web.process.wait(30) != 0
    assert "The service may open 259 connections; with the 2 of DB_CONNECTIONS_RESERVE" in web.log()


def test_a_database_that_cannot_be_asked_does_not_keep_it_from_starting(start: Callable[..., Service]):
    nobody = f"postgresql://roadmap:secret@127.0.0.1:{free_port()}/roadmap_db"
    web = start("web", Database("nobody", nobody, nobody), ready=False)
    wait_until(lambda: answers(web), 30, "the web answers")
    assert web.get("/health/ready").status_code == 503
    assert "the plan is untested" in web.log()
    assert "secret" not in web.log()


def answers(service: Service) -> bool:
    try:
        return service.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False
