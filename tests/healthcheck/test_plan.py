"""The plan by worked examples: the figures of the documents, to the connection."""

import pytest

from roadmap import plan

PRODUCTION = {"ENVIRONMENT": "production"}


def sizes(role: plan.Role) -> dict[str, tuple[int, int]]:
    return {pool.name: (pool.min, pool.max) for pool in role.pools}


def test_production_by_default_opens_at_most_121():
    default = plan.read(PRODUCTION)
    assert sizes(default.web) == {"orm": (32, 80), "checkpointer": (0, 2), "joins": (1, 2)}
    assert sizes(default.worker) == {"orm": (8, 20), "checkpointer": (2, 8), "jobs": (1, 4)}
    assert (default.web.connections, default.worker.connections, default.commands) == (85, 34, 2)
    assert default.steady == 121


def test_development_by_default_opens_at_most_43():
    default = plan.read({})
    assert default.environment == "development"
    assert (default.web.connections, default.worker.connections, default.steady) == (27, 14, 43)


def test_fifty_and_eighty_overflow_on_one_instance():
    """`pool_size=50, max_overflow=80` of SQLAlchemy: 50 kept open, 130 at the most, the worker's 20 of them."""
    sized = plan.read({**PRODUCTION, "DB_POOL_MIN_SIZE": "50", "DB_POOL_MAX_SIZE": "130"})
    assert sizes(sized.web)["orm"] == (42, 110)
    assert (sized.web.connections, sized.worker.connections, sized.steady) == (115, 34, 151)


def test_four_processes_on_two_instances():
    """Each process has its quarter, rounded down, and a writer and a watch of its own."""
    sized = plan.read({**PRODUCTION, "WEB_CONCURRENCY": "4", "WEB_INSTANCES": "2"})
    assert sizes(sized.web) == {"orm": (8, 20), "checkpointer": (0, 1), "joins": (1, 2)}
    assert sized.web.per_process == 20 + 1 + 2 + 1
    assert sized.web.connections == 2 * 4 * 24
    assert sized.steady == 192 + 34 + 2


def test_processes_change_the_total_only_by_what_each_needs_of_its_own():
    one, two = (plan.read({**PRODUCTION, "WEB_CONCURRENCY": count}) for count in "12")
    joins_and_watch = 2 + 1
    assert two.web.connections == one.web.connections + joins_and_watch


def test_threads_are_lowered_to_two_under_the_pool_unless_they_were_asked_for():
    crowded = {**PRODUCTION, "WEB_CONCURRENCY": "16"}
    assert plan.read(crowded).web.pool("orm").max == 5
    assert plan.read(crowded).orm_threads == 3
    with pytest.raises(plan.BadValue, match=r"ORM_THREADS is 4; it takes at most 3"):
        plan.read({**crowded, "ORM_THREADS": "4"})


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"WEB_CONCURRENCY": "abc"}, "WEB_CONCURRENCY is 'abc'; it takes a whole number from 1 to 100000."),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY is '0'; it takes a whole number from 1 to 100000."),
        ({"WEB_CONCURRENCY": ""}, "WEB_CONCURRENCY is ''; it takes a whole number from 1 to 100000."),
        ({"DB_POOL_TIMEOUT": "-1"}, "DB_POOL_TIMEOUT is '-1'; it takes seconds from 0.001 to 100000"),
        ({"DB_POOL_MIN_SIZE": "31"}, "DB_POOL_MIN_SIZE is 31; it takes at most 30 with DB_POOL_MAX_SIZE"),
        ({"DB_POOL_MAX_SIZE": "²"}, "DB_POOL_MAX_SIZE is '²'; it takes a whole number"),
        ({"WEB_CONCURRENCY": "12"}, "DB_POOL_MAX_SIZE is '30'; it takes enough for at least 3 connections"),
        ({"DB_CONNECTIONS_WARN": "101%"}, "DB_CONNECTIONS_WARN is '101%'; it takes a number of connections"),
        ({"DB_CONNECTIONS_WARN": "95%"}, "DB_CONNECTIONS_WARN is 95; it takes at most 90"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT is 'staging'; it takes production or development."),
    ],
)
def test_a_bad_value_is_named_with_what_it_takes(variables: dict[str, str], sentence: str):
    with pytest.raises(plan.BadValue) as refused:
        plan.read(variables)
    assert str(refused.value).startswith(sentence)


def test_what_if_keeps_everything_else():
    default = plan.read({**PRODUCTION, "WEB_INSTANCES": "2"})
    changed = default.what_if({"DEPLOY_SURGE": "3"})
    assert (changed.web.instances, changed.surge, changed.environment) == (2, 3, "production")
    assert default.surge == 0


@pytest.mark.parametrize("name", ["PORT", "DB_POOL_MAXSIZE", "SECRET_KEY"])
def test_what_if_refuses_a_name_that_is_not_in_the_plan(name: str):
    with pytest.raises(plan.BadValue, match=f"{name} is '1'; it takes nothing"):
        plan.read({}).what_if({name: "1"})
