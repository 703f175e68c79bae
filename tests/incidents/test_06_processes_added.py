"""Processes were added, and the plan of 110 connections became 520, unnoticed.

Here the budget counts every role, process and instance, the release step and the server's own start refuse what
does not fit, and a process more than planned is found while it runs.
"""

import contextlib
import json

import psycopg

from tests.conftest import Database
from tests.service import Service, manage

# What was done then, in today's variables: pools of their own size for each of five instances.
FIVE_TIMES = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "x" * 50,
    "ALLOWED_HOSTS": "localhost",
    "WEB_INSTANCES": "5",
}


def test_the_budget_counts_what_five_instances_may_open(database: Database):
    done = manage(database.url, "check_pools", "--json", **FIVE_TIMES)
    budget = json.loads(done.stdout)["budget"]
    assert budget["steady"] == 5 * 85 + 34 + 2
    assert done.returncode == 2


def test_the_release_step_refuses_it(database: Database):
    assert manage(database.url, "check_pools", "--fail-level", "critical", **FIVE_TIMES).returncode == 2


def test_the_web_refuses_to_start_and_opens_no_pool(database: Database, tmp_path):
    web = Service("web", database.url, tmp_path / "web.log", **FIVE_TIMES)
    web.start(ready=False)
    assert web.process is not None
    try:
        assert web.process.wait(30) != 0
    finally:
        web.kill()
    assert "may open 461 connections" in web.log()
    assert "orm pool" not in web.log()


def test_more_processes_in_an_instance_share_its_connections(database: Database):
    """Only the join writer and the watch are every process's own: 2 + 1 each."""
    done = manage(
        database.url, "check_pools", "--json", **{**FIVE_TIMES, "WEB_INSTANCES": "1", "WEB_CONCURRENCY": "2"}
    )
    budget = json.loads(done.stdout)["budget"]
    assert budget["steady"] == 121 + 3


def test_a_process_that_nobody_planned_is_noticed_while_it_runs(database: Database):
    with contextlib.ExitStack() as stack:
        for _ in range(2):  # the watch of a second process
            stack.enter_context(psycopg.connect(database.url, application_name="roadmap_agent/web/watch"))
        done = manage(database.url, "check_pools")
    assert done.returncode == 1
    assert "roadmap_agent/web/watch has 2 open connections; the plan has 1." in " ".join(done.stdout.split())
