"""A move to a bigger server: 35 processes × 10 connections were written down as "60 % typical use".

508 to 608 connections were possible of the 280 allotted. Here the budget is the worst case, and it fits or is refused.
"""

import json
import re

import psycopg

from tests.conftest import Database
from tests.service import manage

# 35 processes with 10 ORM connections each; the rest of each process comes on top, by the plan.
MOVED = {
    "WEB_INSTANCES": "5",
    "WEB_CONCURRENCY": "7",
    "DB_POOL_MIN_SIZE": "0",
    "DB_POOL_MAX_SIZE": "71",
    "WORKER_DB_POOL_MIN_SIZE": "0",
    "WORKER_DB_POOL_MAX_SIZE": "1",
}


def test_every_connection_that_may_be_opened_is_counted(own_database: Database):
    """The allotment is the role's connection limit, on a server that has more."""
    with psycopg.connect(own_database.superuser_url, autocommit=True) as superuser:
        superuser.execute("ALTER ROLE roadmap CONNECTION LIMIT 190")
    done = manage(own_database.url, "check_pools", "--json", **MOVED)
    report = json.loads(done.stdout)
    web, worker = report["budget"]["roles"]
    assert (web["pools"][0]["per_process_max"], web["instances"] * web["processes"]) == (10, 35)
    assert web["connections"] == 35 * (10 + 1 + 1 + 1)
    assert report["budget"]["steady"] == web["connections"] + worker["connections"] + 2
    assert report["budget"]["limit"] == 190
    assert done.returncode == 2
    assert report["findings"][0]["id"] == "healthcheck.E002"
    assert "the role roadmap may have" in report["findings"][0]["message"]


def test_what_fits_can_be_asked_before_the_move(own_database: Database):
    done = manage(
        own_database.url,
        "check_pools",
        "--what-if",
        " ".join(
            f"{name}={value}"
            for name, value in {**MOVED, "WEB_CONCURRENCY": "2", "DB_POOL_MAX_SIZE": "21"}.items()
        ),
    )
    assert done.returncode == 0
    assert re.search(r"= web +27 +130 +\+103", done.stdout)
