"""Incident 11: checkpoint writes fail again, because an earlier fix had deleted the keepalives.

`tests/roadmap/test_timeouts.py` reads every one of them back from live connections. Here: nothing in the address of
the database takes them away, for any pool, and an address that tries is refused by name.
"""

import subprocess
import sys

import pytest

from tests.inside import inside
from tests.roadmap.test_timeouts import PLAN, POOLS, read_back
from tests.service import PROJECT, environment

OTHER_OPTIONS = "?sslmode=prefer&gssencmode=disable&target_session_attrs=read-write"


@pytest.mark.parametrize("role", POOLS)
def test_other_options_in_the_address_leave_the_keepalives_in_place(role, database):
    class Elsewhere:
        url = database.url + OTHER_OPTIONS

    found = inside(role, Elsewhere, read_back)
    assert set(found) == {f"roadmap_agent/{role}/{pool}" for pool in POOLS[role]}
    for name, connections in found.items():
        for settings in connections:
            assert settings == PLAN, name


@pytest.mark.parametrize(
    ("option", "variable"),
    [
        ("keepalives=0", "DB_KEEPALIVES"),
        ("keepalives_idle=9000", "DB_KEEPALIVES_IDLE"),
        ("tcp_user_timeout=0", "DB_TCP_USER_TIMEOUT"),
        ("connect_timeout=0", "DB_CONNECT_TIMEOUT"),
        ("options=-c%20statement_timeout%3D0", "DB_STATEMENT_TIMEOUT"),
    ],
)
def test_an_address_that_changes_the_plan_is_refused_in_a_sentence(option, variable, database):
    done = subprocess.run(
        [sys.executable, "-m", "roadmap.server"],
        cwd=PROJECT,
        env=environment(f"{database.url}?{option}"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    said = (done.stdout + done.stderr).strip()
    assert option.partition("=")[0] in said
    assert variable in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
