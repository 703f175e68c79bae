"""`check_pools` as an operator runs it: what it prints, and what it exits with."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import psycopg
import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.conftest import Database
from tests.service import free_port, manage
from tests.temporary_postgres import temporary_postgres

PRODUCTION = {"ENVIRONMENT": "production", "SECRET_KEY": "x" * 50, "ALLOWED_HOSTS": "example.com"}
NOBODY = "postgresql://roadmap:secret@127.0.0.1:{}/roadmap_db"


def check(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return manage(url, "check_pools", *arguments, **variables)


def as_json(url: str, *arguments: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = check(url, "--json", *arguments, **variables)
    return done.returncode, json.loads(done.stdout)


@contextlib.contextmanager
def held(url: str, name: str, count: int):
    """Connections under a name, each in a transaction."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(psycopg.connect(url, application_name=name))
            connection.execute("SELECT 1")
        yield


def row(table: str, label: str, after: str) -> list[str]:
    """The words of a row of the table, below the row of its group."""
    lines = table[re.search(rf"^{after}\b", table, re.MULTILINE).start() :].splitlines()
    return next(line for line in lines if line.strip().startswith(label)).split()


# --- Verdicts ------------------------------------------------------------------------------------------
def test_development_is_fine_and_exits_0(database: Database):
    done = check(database.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing to find fault with." in done.stdout
    assert row(done.stdout, "orm", "web")[:4] == ["orm", "8–24", "1", "24"]
    assert row(done.stdout, "jobs", "worker")[:6] == ["jobs", "1–2", "+", "1", "1", "3"]
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_default_production_plan_warns_of_the_deploy_and_exits_1(database: Database):
    status, report = as_json(database.url, **PRODUCTION)
    assert status == 1
    assert report["status"] == "warning"
    assert [finding["id"] for finding in report["findings"]] == ["healthcheck.W003"]
    assert (report["budget"]["steady"], report["budget"]["deploy_peak"], report["budget"]["limit"]) == (
        121,
        240,
        197,
    )
    table = check(database.url, **PRODUCTION).stdout
    assert "warning healthcheck.W003" in table
    assert re.search(r"while a deploy overlaps +240 +260 +197 +63 too many", table)
    assert re.search(r"steady +121 +141 +197 +56 to spare", table)


def test_a_plan_over_budget_is_critical_and_exits_2(database: Database):
    status, report = as_json(database.url, WEB_INSTANCES="9")
    assert (status, report["status"]) == (2, "critical")
    assert report["findings"][0]["id"] == "healthcheck.E002"


@pytest.mark.parametrize(
    ("variables", "exits"), [(PRODUCTION, 0), ({**PRODUCTION, "DEPLOY_SURGE": "1"}, 2), ({}, 0)]
)
def test_the_release_step_passes_over_warnings_only(
    database: Database, variables: dict[str, str], exits: int
):
    assert check(database.url, "--fail-level", "critical", **variables).returncode == exits


@pytest.mark.parametrize("arguments", [[], ["--fail-level", "critical"]])
def test_a_database_that_cannot_be_asked_exits_3_and_the_plan_is_printed(arguments: list[str]):
    done = check(NOBODY.format(free_port()), *arguments)
    assert done.returncode == 3
    assert row(done.stdout, "orm", "web") == ["orm", "8–24", "1", "24"]
    assert "Connection refused" in done.stdout
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_json_without_a_database_is_unknown():
    status, report = as_json(NOBODY.format(free_port()))
    assert status == 3
    assert (report["status"], report["server"], report["live"]) == ("unknown", None, None)
    assert report["budget"]["steady"] == 43
    assert report["budget"]["limit"] is None
    assert report["findings"][0]["id"] == "healthcheck.E001"


def test_a_server_at_its_max_connections_exits_3_with_the_servers_reason():
    with temporary_postgres(max_connections=8) as server, held(server.dsn(), "crowd", 5):
        done = check(server.dsn())
    assert done.returncode == 3
    assert "remaining connection slots are reserved" in " ".join(done.stdout.split())
    assert "refuses" in done.stdout


def test_a_server_that_does_not_answer_exits_3_before_long(own_postgres: PrivatePostgres):
    os.kill(own_postgres.pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        done = check(own_postgres.dsn())
    finally:
        os.kill(own_postgres.pid, signal.SIGCONT)
    assert done.returncode == 3
    assert "timeout expired" in done.stdout
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["--fail-level", "sometimes"],
        ["--watch", "0"],
        ["--watch", "nan"],
        ["--watch", "soon"],
        ["--what-if", "WEB_INSTANCES"],
        ["--what-if", ""],
        ["--what-if", "WEB_INSTANCES=none"],
        ["--what-if", "PORT=80"],
        ["--watch", "--what-if", "WEB_INSTANCES=2"],
        ["--no-color", "--force-color"],
        ["surplus"],
    ],
)
def test_a_bad_option_exits_4_with_a_reason(database: Database, arguments: list[str]):
    done = check(database.url, *arguments)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "variables",
    [
        {"WEB_CONCURRENCY": "abc"},
        {"WEB_CONCURRENCY": "0"},
        {"WEB_CONCURRENCY": ""},
        {"ENVIRONMENT": "staging"},
        {"DB_POOL_MIN_SIZE": "31"},
        {"ENVIRONMENT": "production"},
    ],
)
def test_bad_settings_exit_4_with_one_sentence(database: Database, variables: dict[str, str]):
    done = check(database.url, **variables)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(
        tuple(variables) if variables != {"ENVIRONMENT": "production"} else "SECRET_KEY"
    )


# --- What it sees --------------------------------------------------------------------------------------
def test_it_opens_one_connection_under_its_own_name(own_database: Database):
    live = as_json(own_database.url)[1]["live"]
    assert live == {
        "total": 1,
        "by_application": [{"application_name": "roadmap_agent/command", "state": "active", "count": 1}],
    }


def test_it_works_while_every_planned_connection_is_taken(database: Database):
    """The plan of development to the last connection, and it is at fault for none of them."""
    planned = {"web/orm": 24, "web/checkpointer": 1, "web/joins": 1, "web/watch": 1, "worker/orm": 6}
    planned |= {"worker/checkpointer": 4, "worker/jobs": 3, "worker/watch": 1}
    with contextlib.ExitStack() as stack:
        for name, count in planned.items():
            stack.enter_context(held(database.url, f"roadmap_agent/{name}", count))
        done = check(database.url)
    assert done.returncode == 0
    assert row(done.stdout, "orm", "web") == ["orm", "8–24", "1", "24", "24", "0", "0", "24"]
    assert row(done.stdout, "web", "web")[3:5] == ["27", "27"]
    assert row(done.stdout, "worker", "worker")[3:5] == ["14", "14"]


def test_a_process_more_than_planned_is_found(database: Database):
    with held(database.url, "roadmap_agent/web/orm", 25):
        status, report = as_json(database.url)
    assert status == 1
    assert (
        report["findings"][0]["message"] == "roadmap_agent/web/orm has 25 open connections; the plan has 24."
    )


def test_a_name_that_is_not_in_the_plan_is_found(database: Database):
    with held(database.url, "roadmap_agent/web/cache", 1):
        done = check(database.url)
    assert done.returncode == 1
    assert "healthcheck.W006" in done.stdout
    assert "roadmap_agent/web/cache" in done.stdout


def test_the_lines_for_the_whole_server_count_other_services_too(
    postgres: PrivatePostgres, database: Database
):
    with held(postgres.dsn(superuser=True), "somebody else", 4):
        _, report = as_json(database.url)
        total = report["live"]["total"]
        at = check(database.url, DB_CONNECTIONS_WARN=str(total), DB_CONNECTIONS_CRITICAL="90")
        above = check(database.url, DB_CONNECTIONS_WARN=str(total - 1), DB_CONNECTIONS_CRITICAL="90")
        far_above = check(database.url, DB_CONNECTIONS_WARN="1", DB_CONNECTIONS_CRITICAL=str(total - 1))
    assert total >= 5
    assert (at.returncode, above.returncode, far_above.returncode) == (0, 1, 2)
    assert "somebody else (4)" in far_above.stdout


def test_a_superuser_is_warned_that_no_limit_binds_it(database: Database):
    status, report = as_json(database.superuser_url)
    assert status == 1
    assert [finding["id"] for finding in report["findings"]] == ["healthcheck.W009"]


# --- What if -------------------------------------------------------------------------------------------
def test_what_if_does_the_sum_line_by_line_and_judges_it(database: Database):
    done = check(database.url, "--what-if", "WEB_INSTANCES=4 DEPLOY_SURGE=1 DB_POOL_MAX_SIZE=60")
    assert done.returncode == 2
    assert row(done.stdout, "orm, at most", "web") == ["orm,", "at", "most", "24", "54", "+30"]
    assert row(done.stdout, "× instances", "web") == ["×", "instances", "1", "4", "+3"]
    assert row(done.stdout, "= web", "web") == ["=", "web", "27", "228", "+201"]
    assert row(done.stdout, "= worker", "worker") == ["=", "worker", "14", "14"]
    assert row(done.stdout, "= steady", "= steady") == ["=", "steady", "43", "244", "+201"]
    assert "healthcheck.E002" in done.stdout


def test_what_if_finds_nothing_in_a_plan_that_fits(database: Database):
    done = check(database.url, "--what-if", "DB_POOL_MAX_SIZE=68", **PRODUCTION)
    assert done.returncode == 0
    assert "Nothing to find fault with." in done.stdout


def test_what_if_as_json_is_the_budget_of_the_other_values(database: Database):
    status, report = as_json(database.url, "--what-if", "WEB_INSTANCES=9")
    assert (status, report["status"], report["what_if"]) == (2, "critical", {"WEB_INSTANCES": "9"})
    assert report["budget"]["roles"][0]["instances"] == 9


def test_what_if_without_a_server_still_does_the_sum():
    done = check(NOBODY.format(free_port()), "--what-if", "WEB_INSTANCES=4")
    assert done.returncode == 3
    assert row(done.stdout, "= web", "web") == ["=", "web", "27", "108", "+81"]
