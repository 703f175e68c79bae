"""The system checks: quick and without a database, unless a database is asked for."""

import time
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks

from roadmap import plan
from tests.conftest import Database
from tests.service import free_port, manage

PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "x" * 50, "ALLOWED_HOSTS": "example.com"}
NOBODY = "postgresql://roadmap@127.0.0.1:{}/roadmap_db"
WEB = plan.read({}).web.pool("orm")


def found(monkeypatch: pytest.MonkeyPatch, role: str, **database: Any) -> list[str]:
    """The ids of what is found in another configuration of this process."""
    monkeypatch.setattr(settings, "PROCESS_ROLE", role)
    monkeypatch.setitem(settings.DATABASES, "default", {**settings.DATABASES["default"], **database})
    return [message.id for message in run_checks() if message.id.startswith("healthcheck.")]


def options(**pool: int) -> dict[str, Any]:
    return {"pool": {"min_size": WEB.min, "max_size": WEB.max, **pool}}


def test_check_is_quick_and_needs_no_database():
    started = time.monotonic()
    done = manage(NOBODY.format(free_port()), "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - started < 10


def test_the_shipped_configuration_is_fine(monkeypatch: pytest.MonkeyPatch):
    assert found(monkeypatch, "command") == []
    assert found(monkeypatch, "web", OPTIONS=options()) == []


def test_connections_that_outlive_a_request_are_found(monkeypatch: pytest.MonkeyPatch):
    assert found(monkeypatch, "web", OPTIONS=options(), CONN_MAX_AGE=60) == ["healthcheck.E010"]
    assert found(monkeypatch, "web", OPTIONS=options(), CONN_MAX_AGE=None) == ["healthcheck.E010"]


def test_a_command_with_a_pool_is_found(monkeypatch: pytest.MonkeyPatch):
    assert found(monkeypatch, "command", OPTIONS=options()) == ["healthcheck.E011"]


@pytest.mark.parametrize("pool", [None, True, False])
def test_a_web_without_a_pool_of_its_own_size_is_found(monkeypatch: pytest.MonkeyPatch, pool: object):
    assert found(monkeypatch, "web", OPTIONS={"pool": pool}) == ["healthcheck.E012"]


@pytest.mark.parametrize("size", [{"max_size": WEB.max + 1}, {"min_size": 0}])
def test_a_pool_of_another_size_than_planned_is_found(monkeypatch: pytest.MonkeyPatch, size: dict[str, int]):
    assert found(monkeypatch, "web", OPTIONS=options(**size)) == ["healthcheck.E013"]


def test_the_database_check_warns_of_the_deploy(database: Database):
    done = manage(database.url, "check", "--database", "default", **PRODUCTION)
    assert done.returncode == 0
    assert "healthcheck.W003" in done.stderr


def test_migrate_stops_at_a_plan_that_is_over_budget(database: Database):
    done = manage(database.url, "migrate", WEB_INSTANCES="9")
    assert done.returncode == 1
    assert "healthcheck.E002" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_database_check_says_when_nobody_answers():
    done = manage(NOBODY.format(free_port()), "check", "--database", "default")
    assert done.returncode == 1
    assert "healthcheck.E001" in done.stderr
    assert "Connection refused" in done.stderr
