"""The sum, what it finds, and what it says to change."""

from dataclasses import replace
from typing import Any

import pytest

from healthcheck.activity import Count, Live, Server
from healthcheck.budget import Budget
from healthcheck.report import Report
from roadmap import plan

SERVER = Server(
    version="15.18",
    version_number=150018,
    max_connections=200,
    reserved=3,
    role="roadmap",
    is_superuser=False,
    role_limit=None,
    database="roadmap_db",
    database_limit=None,
)


def report(server: Server = SERVER, live: Live | None = None, **variables: str) -> Report:
    read = plan.read({"ENVIRONMENT": "production", **variables})
    return Report(read, "roadmap_agent", server, live)


def found(report: Report) -> list[str]:
    return [finding.id for finding in report.findings]


def open_connections(**names: int) -> Live:
    return Live(tuple(Count(name.replace("_", "/"), "idle", count) for name, count in names.items()))


def test_the_default_production_plan_is_121_of_197_and_240_in_a_deploy():
    json = report().budget.as_json()
    assert [(role["role"], role["connections"]) for role in json["roles"]] == [("web", 85), ("worker", 34)]
    assert (json["commands"], json["reserve"], json["steady"], json["deploy_peak"]) == (2, 20, 121, 240)
    assert json["steady"] + json["reserve"] == 141
    assert json["limit"] == 197
    assert json["thresholds"] == {"warn": 150, "critical": 180}
    assert json["instances_that_fit"] == {"web": 1, "worker": 2}


def test_json_has_exactly_the_keys_of_the_contract():
    json = report(live=open_connections(psql=1)).as_json()
    assert set(json) == {"status", "server", "budget", "live", "findings"}
    assert json["server"] == {
        "max_connections": 200,
        "reserved": 3,
        "usable": 197,
        "pooler": None,
        "version": "15.18",
    }
    assert json["budget"]["roles"][0] == {
        "role": "web",
        "instances": 1,
        "processes": 1,
        "connections": 85,
        "pools": [
            {"name": "orm", "min": 32, "max": 80, "per_process_max": 80},
            {"name": "checkpointer", "min": 0, "max": 2, "per_process_max": 2},
            {"name": "joins", "min": 1, "max": 2, "per_process_max": 2},
        ],
        "outside_pools": 1,
    }
    assert json["live"] == {
        "total": 1,
        "by_application": [{"application_name": "psql", "state": "idle", "count": 1}],
    }
    assert [set(finding) for finding in json["findings"]] == [{"id", "level", "message", "hint"}]


def test_the_sizes_in_json_are_what_one_instance_really_opens():
    roles = report(WEB_CONCURRENCY="3", WEB_INSTANCES="2").budget.as_json()["roles"]
    assert roles[0]["pools"][0] == {"name": "orm", "min": 30, "max": 78, "per_process_max": 26}
    assert roles[0]["connections"] == 2 * 3 * (26 + 1 + 2 + 1)


def test_the_default_plan_does_not_survive_a_deploy_and_the_hint_has_the_numbers():
    default = report()
    assert (default.status, found(default)) == ("warning", ["healthcheck.W003"])
    assert "240 connections" in default.findings[0].message
    assert "63 more than the 197" in default.findings[0].message
    assert "DB_POOL_MAX_SIZE to at most 68" in default.findings[0].hint
    assert "max_connections to at least 263" in default.findings[0].hint


def test_either_of_the_two_numbers_in_the_hint_puts_it_right():
    assert report(DB_POOL_MAX_SIZE="68").status == "ok"
    assert report(DB_POOL_MAX_SIZE="69").status == "warning"
    assert report(replace(SERVER, max_connections=263)).status == "ok"
    assert report(replace(SERVER, max_connections=262)).status == "warning"


def test_a_peak_over_the_limit_is_critical_where_deploys_are_said_to_overlap():
    assert found(report(DEPLOY_SURGE="0")) == ["healthcheck.W003"]
    surge = report(DEPLOY_SURGE="1")
    assert (surge.status, found(surge)) == ("critical", ["healthcheck.E003"])
    assert surge.budget.deploy_peak == 240
    assert report(DEPLOY_SURGE="2").budget.deploy_peak == 3 * (85 + 34) + 2
    assert all(report(DEPLOY_SURGE=surge).refusal is None for surge in "012")


@pytest.mark.parametrize("surge", ["0", "1"])
def test_steady_over_the_limit_is_critical_and_refused(surge: str):
    crowded = report(WEB_INSTANCES="2", DEPLOY_SURGE=surge)
    assert crowded.status == "critical"
    assert crowded.findings[0].id == "healthcheck.E002"
    assert crowded.refusal == crowded.findings[0].message
    assert "206 connections; with the 20 of DB_CONNECTIONS_RESERVE" in crowded.findings[0].message
    assert "What fits, everything else as it is: 1 × web, or 0 × worker." in crowded.findings[0].hint


def test_the_reserve_counts_to_the_last_connection():
    assert report(DB_CONNECTIONS_RESERVE="76").refusal is None
    assert report(DB_CONNECTIONS_RESERVE="77").refusal is not None


@pytest.mark.parametrize("server", [replace(SERVER, role_limit=140), replace(SERVER, database_limit=140)])
def test_the_limit_of_the_role_and_of_the_database_bind_too(server: Server):
    bound = report(server)
    assert bound.budget.limit == 140
    assert bound.server
    assert bound.server.usable == 197
    assert bound.refusal is not None
    assert (
        f"the 140 that the {'role roadmap' if server.role_limit else 'database roadmap_db'} may have"
        in bound.refusal
    )
    assert "to at least 141" in bound.findings[0].hint


def test_slots_reserved_since_postgresql_16_are_not_ours():
    (server,) = [Server.of([("16.4", 160004, 200, 3 + 40, "r", False, -1, "d", -1)])]
    assert (server.usable, server.limit) == (157, 157)


@pytest.mark.parametrize(
    ("total", "ids"),
    [
        (150, []),
        (151, ["healthcheck.W004"]),
        (180, ["healthcheck.W004"]),
        (181, ["healthcheck.E004"]),
    ],
)
def test_the_lines_for_what_is_open_are_passed_strictly_above(total: int, ids: list[str]):
    crowd = report(live=open_connections(psql=total), DB_POOL_MAX_SIZE="68")
    assert found(crowd) == ids


def test_a_line_can_be_a_number():
    numbers = report(live=open_connections(psql=8), DB_CONNECTIONS_WARN="7", DB_CONNECTIONS_CRITICAL="8")
    assert (numbers.budget.warn, numbers.budget.critical) == (7, 8)
    assert "healthcheck.W004" in found(numbers)


def test_a_name_above_its_plan_is_named_with_both_numbers():
    live = Live((Count("roadmap_agent/web/orm", "idle", 50), Count("roadmap_agent/web/orm", "active", 31)))
    over = report(live=live, DB_POOL_MAX_SIZE="68", WEB_INSTANCES="1")
    assert [finding.id for finding in over.findings] == ["healthcheck.W005"]
    assert "roadmap_agent/web/orm has 81 open connections; the plan has 48." in over.findings[0].message


def test_the_listener_is_planned_under_the_name_of_its_pool():
    five, six = (Live((Count("roadmap_agent/worker/jobs", "idle", count),)) for count in (5, 6))
    assert "healthcheck.W005" not in found(report(live=five))
    assert "healthcheck.W005" in found(report(live=six))


@pytest.mark.parametrize("name", ["roadmap_agent/web/cache", "roadmap_agent", "roadmap_agent/web/orm/x"])
def test_a_name_of_ours_that_the_plan_does_not_know_is_found(name: str):
    assert "healthcheck.W006" in found(report(live=Live((Count(name, None, 1),))))


@pytest.mark.parametrize("name", ["", "psql", "roadmap_agents/web/orm"])
def test_other_peoples_names_are_their_own(name: str):
    assert found(report(live=Live((Count(name, None, 1),)))) == ["healthcheck.W003"]


@pytest.mark.parametrize(
    ("changes", "variables", "expected"),
    [
        ({}, {"DB_CONNECTIONS_WARN": "190"}, "healthcheck.W007"),
        ({"version": "14.9", "version_number": 140009}, {}, "healthcheck.E008"),
        ({"is_superuser": True}, {}, "healthcheck.W009"),
    ],
)
def test_it_finds(changes: dict[str, Any], variables: dict[str, str], expected: str):
    assert expected in found(report(replace(SERVER, **changes), **variables))


def test_without_a_server_the_plan_is_there_and_the_rest_unknown():
    alone = Report(plan.read({"ENVIRONMENT": "production"}), "roadmap_agent", error=OSError("gone"))
    json = alone.as_json()
    assert (json["status"], json["server"], json["live"]) == ("unknown", None, None)
    assert (json["budget"]["steady"], json["budget"]["deploy_peak"]) == (121, 240)
    assert (
        json["budget"]["limit"]
        is json["budget"]["thresholds"]
        is json["budget"]["instances_that_fit"]
        is None
    )
    assert alone.refusal is None


def test_no_size_is_recommended_where_none_would_do():
    tiny = report(replace(SERVER, max_connections=50))
    assert tiny.findings[0].hint.startswith("Set max_connections to at least 144.")


def test_a_budget_has_no_factor_of_hope():
    """35 processes of 10 connections are 350, whatever they typically use."""
    moved = plan.read(
        {
            "WEB_INSTANCES": "35",
            "DB_POOL_MAX_SIZE": "11",
            "DB_POOL_MIN_SIZE": "0",
            "WORKER_DB_POOL_MAX_SIZE": "1",
            "WORKER_DB_POOL_MIN_SIZE": "0",
        }
    )
    assert moved.web.pool("orm").max == 10
    assert Budget.of(moved, replace(SERVER, max_connections=283)).too_many(moved.steady) > 0
