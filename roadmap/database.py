"""Django's `DATABASES` entry, from an address and the plan."""

from typing import Any
from urllib.parse import unquote

import environ
from django.core.exceptions import ImproperlyConfigured

from roadmap.plan import Plan

# What the plan sets itself, and the variable to use instead of the address.
PLANNED = {
    "application_name": "nothing: the names are fixed",
    "connect_timeout": "DB_CONNECT_TIMEOUT",
    "keepalives": "DB_KEEPALIVES",
    "keepalives_idle": "DB_KEEPALIVES_IDLE",
    "keepalives_interval": "DB_KEEPALIVES_INTERVAL",
    "keepalives_count": "DB_KEEPALIVES_COUNT",
    "tcp_user_timeout": "DB_TCP_USER_TIMEOUT",
    "options": "DB_STATEMENT_TIMEOUT and its neighbours, or ALTER ROLE … SET",
    "pool": "DB_POOL_MIN_SIZE and DB_POOL_MAX_SIZE",
    "conn_max_age": "DB_POOL_MAX_LIFETIME",
    "conn_health_checks": "nothing: connections are always checked",
    "assume_role": "ALTER ROLE … SET role",
}


def database_from_url(url: str, plan: Plan, role: str, application: str) -> dict[str, Any]:
    """The entry for one process.

    Args:
        url: `postgresql://user:password@host:port/name?sslmode=…`; a socket folder as `?host=/run/postgresql`.
        role: `web`, `worker` or `command`; it becomes part of the connections' name.
        application: the first part of that name.

    Raises:
        ImproperlyConfigured: the address is not PostgreSQL's, names no database, or sets what the plan sets.
    """
    try:
        database: dict[str, Any] = environ.Env.db_url_config(url)
    except (ValueError, KeyError, TypeError, ImproperlyConfigured):
        database = {}
    if database.get("ENGINE") != "django.db.backends.postgresql" or not database.get("NAME"):
        # The address itself stays out of the text: it holds a password.
        raise ImproperlyConfigured(
            "DATABASE_URL is not a PostgreSQL address; it takes postgresql://user:password@host:port/name."
        )
    given = database.get("OPTIONS", {})
    for key in [*given, *(k.lower() for k in database if k.startswith("CONN_"))]:
        if key in PLANNED:
            raise ImproperlyConfigured(f"DATABASE_URL sets {key}, which the plan sets; use {PLANNED[key]}.")
    host = given.pop("host", "") or unquote(database.get("HOST", ""))  # `dbshell` looks for it in HOST only
    times = plan.timeouts
    server_side = {
        "statement_timeout": times.statement,
        "idle_in_transaction_session_timeout": times.idle_in_transaction,
        "lock_timeout": times.lock,
        "client_connection_check_interval": times.client_check,
    }
    return {
        **database,
        "HOST": host,
        "CONN_MAX_AGE": 0,  # the pool refuses anything else
        "OPTIONS": {
            **given,
            "application_name": f"{application}/command"
            if role == "command"
            else f"{application}/{role}/orm",
            "connect_timeout": times.connect,
            "keepalives": times.keepalives,
            "keepalives_idle": times.keepalives_idle,
            "keepalives_interval": times.keepalives_interval,
            "keepalives_count": times.keepalives_count,
            "tcp_user_timeout": round(times.tcp_user * 1000),
            "options": " ".join(f"-c {name}={round(value * 1000)}" for name, value in server_side.items()),
        },
    }
