"""The README says what is so: its tables, sums, bounds, commands and paths."""

import ast
import inspect
import json
import math
import re
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from psycopg_pool import ConnectionPool

from healthcheck import budget, faults
from roadmap import plan, settings
from roadmap.runs import hub
from roadmap.server import http
from roadmap.server.threads import PATIENCE
from tests.readme import README, code, table
from tests.service import PROJECT
from waitlist import joins
from waitlist.forms import MAX_BODY
from waitlist.joins import BACKLOG, BATCH
from waitlist.limits import CLIENTS

RESERVED = 3  # PostgreSQL's own superuser_reserved_connections


# --- The environment -----------------------------------------------------------------------------------
def settings_variables() -> dict[str, tuple[str, str]]:
    """The variables that settings.py reads, as the table's two cells of defaults."""
    found = {
        name: ("none" if default == "" else f"`{default}`",) * 2
        for name, default in settings.reader.defaults.items()
    }
    for call in ast.walk(ast.parse(Path(settings.__file__).read_text())):
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            match ast.unparse(call.func):
                case "required":
                    found[call.args[0].value] = ("needed", f"`{ast.unparse(call.args[1]).strip("'")}`")
                case "env.list" | "env.str" | "env.bool" | "env.int":
                    found[call.args[0].value] = ("none", "none")
    # In words: the one is made when it is missing, the other is nobody's business.
    found["DATABASE_URL"] = ("needed", "the private one of `make run`")
    found["SECRET_KEY"] = ("needed", "a fixed one")
    return found


def test_the_table_of_the_environment_has_every_variable_with_both_defaults() -> None:
    expected = {
        "ENVIRONMENT": ("`production`", "`development`"),
        **settings_variables(),
        **{name: (f"`{first}`", f"`{second}`") for name, (first, second) in plan.DEFAULTS.items()},
        **{name: (f"`{share}`",) * 2 for name, share in plan.THRESHOLDS.items()},
    }
    rows = table("environment")
    assert {row[0].strip("`"): (row[2], row[3]) for row in rows} == expected
    assert len(rows) == len(expected)


def test_env_example_has_the_same_variables() -> None:
    listed = dict(re.findall(r"^# ([A-Z_]+)=(\S*)", (PROJECT / ".env.example").read_text(), re.MULTILINE))
    rows = {row[0].strip("`"): row[2] for row in table("environment")}
    assert listed.keys() == rows.keys()
    for name in settings_variables():
        if rows[name].startswith("`"):
            assert f"`{listed[name]}`" == rows[name]


# --- The plan ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("row", table("examples"), ids=lambda row: row[0])
def test_an_example_comes_to_what_the_table_says(row: list[str]) -> None:
    changes = dict(re.findall(r"([A-Z_]+)=(\d+)", row[0]))
    example = plan.read({"ENVIRONMENT": "production", **changes})
    steady, peak = budget.steady(example), budget.deploy_peak(example)
    usable = int(row[7]) - RESERVED
    assert row[1:] == [
        example.web.describe(),
        str(example.web.connections),
        str(example.worker.connections),
        str(steady),
        str(steady + example.reserve),
        str(peak),
        row[7],
        str(usable),
        "yes" if steady + example.reserve <= usable else "no",
        "yes" if peak + example.reserve <= usable else "no",
    ]


def test_every_sum_in_the_text_is_right() -> None:
    sums = re.findall(r"(\d+(?: [+×] (?:\d+))+) = (\d+)", README)
    assert len(sums) >= 8
    for terms, total in sums:
        products = [math.prod(map(int, term.split(" × "))) for term in terms.split(" + ")]
        assert sum(products) == int(total), f"{terms} = {total}"


@pytest.mark.parametrize(
    ("changes", "max_connections", "most"),
    [({}, 100, 56), ({"WEB_INSTANCES": "2", "WEB_CONCURRENCY": "4"}, 200, 75)],
)
def test_the_largest_pool_that_is_said_to_fit_is_the_largest(
    changes: dict[str, str], max_connections: int, most: int
) -> None:
    example = plan.read({"ENVIRONMENT": "production", **changes})
    limit = max_connections - RESERVED
    assert f"`DB_POOL_MAX_SIZE` of {most}" in README
    assert budget.largest_that_fits(example, "DB_POOL_MAX_SIZE", limit, budget.steady) == most


def test_what_the_server_needs_is_said_right() -> None:
    default = plan.read({"ENVIRONMENT": "production"})
    steady = default.steady + default.reserve + RESERVED
    peak = budget.deploy_peak(default) + default.reserve + RESERVED
    text = " ".join(README.split())
    assert f"at least {steady} `max_connections` for the default one, {peak} if deploys overlap" in text
    named = re.findall(r"max_connections`? (?:=|of at least|to at least) (\d+)", text)
    assert len(named) >= 4
    assert set(named) == {str(peak)}


def test_the_bounds_in_the_text_are_those_of_the_code() -> None:
    for sentence in (
        f"backlog, at most {BACKLOG:,}",
        f"one INSERT for up to {BATCH} joins",
        f"queue for a thread, {PATIENCE:g} s long",
        f"{plan.DEFAULTS['ORM_THREADS'][0]} ORM threads",
        f"more than {faults.LINES} times a second",
        f"| {MAX_BODY} bytes |",
        f"| {BACKLOG:,}, and {joins.PATIENCE:g} s for the first of them |",
        f"| {hub.MOST:,}; {hub.MOST_OF_ONE} |",
        f"| {http.MOST_HEAD // 1024} KiB behind its first piece; {http.HEAD_SECONDS:g} s |",
        f"| {CLIENTS:,} |",
        f"| {PATIENCE:g} s; {2 * PATIENCE:g} s |",
    ):
        assert sentence in README


def test_every_class_of_faults_is_explained() -> None:
    assert tuple(re.findall(r"^\| `([a-z_]+)` \|.+\|.+\|$", README, re.MULTILINE)) == faults.CLASSES


# --- Commands and files --------------------------------------------------------------------------------
def test_the_make_targets_exist() -> None:
    named = {target for text in code() for target in re.findall(r"\bmake ([a-z]+)", text)}
    targets = re.findall(r"^([a-z]+):.*##", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert {"run", "test", "load", "lint"} <= named <= set(targets)


def test_the_management_commands_exist() -> None:
    named = {command for text in code() for command in re.findall(r"manage\.py ([a-z_]+)", text)}
    assert {"check_pools", "migrate", "run_worker", "dbshell"} <= named <= get_commands().keys()


def test_check_pools_has_the_options_that_are_named() -> None:
    parser = load_command_class("healthcheck", "check_pools").create_parser("manage.py", "check_pools")
    named = {
        option
        for text in code()
        if "check_pools" in text or text.startswith("--")
        for option in re.findall(r"--[a-z-]+", text)
    } - {"--noinput"}  # that is of migrate, before it
    assert {"--json", "--watch", "--what-if", "--fail-level"} == named
    assert all(option in parser._option_string_actions for option in named)


def test_the_files_exist() -> None:
    linked = re.findall(r"\]\(([^#)][^)]*)\)", README)
    named = [
        text for text in code() if re.fullmatch(r"(roadmap|waitlist|healthcheck|tests|\.ci)/[\w/.]+", text)
    ]
    assert len(linked) >= 4
    assert len(named) >= 6
    for path in (*linked, *named):
        assert (PROJECT / path).is_file(), path


def test_links_inside_the_file_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert links
    assert links <= anchors


def test_platforms_start_what_the_text_says() -> None:
    steps = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())
    web, worker = (
        json.loads((PROJECT / name).read_text())["deploy"] for name in ("railway.json", "railway.worker.json")
    )
    assert steps["web"] == web["startCommand"] == "python -m roadmap.server"
    assert steps["worker"] == "python manage.py run_worker"
    assert web["preDeployCommand"] == [steps["release"]]
    assert worker["startCommand"] == f"exec env WORKER_PORT=$PORT {steps['worker']}"
    assert web["healthcheckPath"] == worker["healthcheckPath"] == "/health/ready"
    for command in (steps["web"], steps["worker"], "check_pools --fail-level critical"):
        assert f"`{command}`" in README


def test_the_pool_is_what_the_table_for_sqlalchemy_says() -> None:
    idle = inspect.signature(ConnectionPool.__init__).parameters["max_idle"].default
    assert f"after {idle / 60:g} minutes" in README


def test_there_is_a_place_for_the_table_of_make_load() -> None:
    assert re.search(r"^<!-- load -->\n.+\n<!-- /load -->$", README, re.DOTALL | re.MULTILINE)
