"""How a connection outside Django's ORM is made: Django's own parameters, under a name of its own."""

from typing import Any

from django.conf import settings
from django.db import connections


def application_name(pool: str | None = None) -> str:
    """A connection's name on the server: `roadmap_agent/web/joins`; a one-off command's has no pool."""
    if settings.PROCESS_ROLE == "command" or pool is None:
        return f"{settings.APPLICATION_NAME}/command"
    return f"{settings.APPLICATION_NAME}/{settings.PROCESS_ROLE}/{pool}"


def connection_kwargs(pool: str | None = None, **changes: Any) -> dict[str, Any]:
    """Keyword arguments for `psycopg.connect`: address, time limits and keepalives of the plan, and the name.

    Args:
        pool: the last part of the name; None for a one-off command.
        changes: what is to be different, such as `autocommit=True`.
    """
    kwargs = connections["default"].get_connection_params()
    for djangos_own in ("cursor_factory", "context"):
        kwargs.pop(djangos_own)
    return {**kwargs, "application_name": application_name(pool), **changes}
