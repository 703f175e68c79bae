"""System checks: how the database is configured; with `--database default`, and on `migrate`, the budget."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

from healthcheck import report
from healthcheck.findings import Finding

ALIAS = "default"


@register
def check_configuration(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """What can be known without a server: `manage.py check` works where there is none."""
    return list(_configuration(settings.DATABASES[ALIAS], settings.PROCESS_ROLE))


def _configuration(database: dict[str, Any], role: str) -> Iterator[CheckMessage]:
    if database.get("CONN_MAX_AGE", 0) != 0:
        yield Error(
            f"CONN_MAX_AGE is {database['CONN_MAX_AGE']!r}; a connection has to go back after each request.",
            hint="Leave it at 0; DB_POOL_MAX_LIFETIME says how old a connection may get.",
            id="healthcheck.E010",
        )
    pool = database.get("OPTIONS", {}).get("pool")
    if role == "command":
        if pool:
            yield Error(
                "A one-off command has a pool, and would open its min_size for a single query.",
                hint="Leave OPTIONS['pool'] out where PROCESS_ROLE is 'command'.",
                id="healthcheck.E011",
            )
        return
    if not isinstance(pool, dict):
        yield Error(
            f"The {role} has no pool for the ORM: every thread would open connections of its own.",
            hint="Set OPTIONS['pool'] to a dict with the plan's min_size and max_size.",
            id="healthcheck.E012",
        )
        return
    plan = settings.CONNECTION_PLAN
    orm = plan.role(role).pool("orm")
    sizes = pool.get("min_size"), pool.get("max_size")
    if sizes != (orm.min, orm.max):
        yield Error(
            f"The {role}'s ORM pool has the sizes {sizes[0]}–{sizes[1]}, not the plan's {orm.min}–{orm.max}.",
            hint="Take min_size and max_size from CONNECTION_PLAN.",
            id="healthcheck.E013",
        )
    if role == "web" and plan.orm_threads > orm.max - 2:
        yield Error(
            f"{plan.orm_threads} ORM threads can have all {orm.max} connections of their pool.",
            hint=f"Set ORM_THREADS to at most {orm.max - 2}, so that no thread ever waits for a connection.",
            id="healthcheck.E014",
        )


@register(Tags.database)
def check_budget(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """The plan beside the server, through Django's own connection; not what happens to be open right now."""
    if ALIAS not in (databases or ()):
        return []
    try:
        with connections[ALIAS].cursor() as cursor:
            look = report.of_cursor(cursor)
    except DatabaseError as error:
        look = report.without_server(error)
    return [_as_message(finding) for finding in replace(look, live=None).findings]


def _as_message(finding: Finding) -> CheckMessage:
    kind = Error if finding.level == "critical" else Warning
    return kind(finding.message, hint=finding.hint, id=finding.id)
