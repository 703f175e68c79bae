"""What the server says: its limits, and the connections that are open on it at this moment.

One query each. The rows are made into dataclasses here, so that an asynchronous connection can use the same:
`Live.of((await (await connection.execute(LIVE)).fetchall()))`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

# `reserved_connections` exists from PostgreSQL 16. The limits of a role are those of whom one signed in as.
SERVER = """
    SELECT current_setting('server_version'),
           current_setting('server_version_num')::int,
           current_setting('max_connections')::int,
           current_setting('superuser_reserved_connections')::int
               + coalesce(current_setting('reserved_connections', true)::int, 0),
           rolname, rolsuper, rolconnlimit, datname, datconnlimit
    FROM pg_roles, pg_database
    WHERE rolname = session_user AND datname = current_database()
"""

# What takes a slot of `max_connections`. Of another role's connection an ordinary role sees neither state nor
# backend_type, so those are told by what they do have, a database and a user: autovacuum has no user, and the
# senders of replication, which have slots of their own, are known by their process. Another role's parallel
# workers cannot be told apart and are counted; there are at most max_parallel_workers of them, for moments.
OPEN = """
    CASE
        WHEN backend_type IS NOT NULL THEN backend_type = 'client backend'
        ELSE datid IS NOT NULL AND usesysid IS NOT NULL AND pid NOT IN (SELECT pid FROM pg_stat_replication)
    END
"""
LIVE = f"""
    SELECT coalesce(application_name, ''), state, count(*)
    FROM pg_stat_activity
    WHERE {OPEN}
    GROUP BY 1, 2
    ORDER BY 1, 2
"""  # noqa: S608  # both parts are written here


class Cursor(Protocol):
    """psycopg's cursor, or Django's around it."""

    def execute(self, query: Any, /) -> Any: ...

    def fetchall(self) -> list[Any]: ...


@dataclass(frozen=True)
class Server:
    """The limits of a server, in connections; None where the role or the database has no limit of its own."""

    version: str
    version_number: int  # 150018 is 15.18
    max_connections: int
    reserved: int  # for superusers, and from PostgreSQL 16 for pg_use_reserved_connections
    role: str
    is_superuser: bool
    role_limit: int | None
    database: str
    database_limit: int | None
    pooler: str | None = None

    @property
    def usable(self) -> int:
        return self.max_connections - self.reserved

    @property
    def limit(self) -> int:
        """The most that this service's role can have in its database, were it alone on the server."""
        own = [limit for limit in (self.role_limit, self.database_limit) if limit is not None]
        return min([self.usable, *own])

    def as_json(self) -> dict[str, Any]:
        return {
            "max_connections": self.max_connections,
            "reserved": self.reserved,
            "usable": self.usable,
            "pooler": self.pooler,
            "version": self.version,
        }

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> "Server":
        """From the one row of `SERVER`."""
        (row,) = rows
        version, number, most, reserved, role, is_superuser, role_limit, database, database_limit = row
        return cls(
            version=version.split()[0],  # distributions add their own after a space
            version_number=number,
            max_connections=most,
            reserved=reserved,
            role=role,
            is_superuser=is_superuser,
            role_limit=role_limit if role_limit >= 0 else None,
            database=database,
            database_limit=database_limit if database_limit >= 0 else None,
        )


@dataclass(frozen=True)
class Count:
    """How many connections have one name and one state.

    Attributes:
        state: PostgreSQL's word (`idle`, `active`, `idle in transaction`, …); None for another role's
            connection, whose state an ordinary role may not see.
    """

    application_name: str
    state: str | None
    count: int


@dataclass(frozen=True)
class Live:
    """The connections open on the whole server, in all its databases, as `max_connections` counts them."""

    counts: tuple[Count, ...]

    @property
    def total(self) -> int:
        return sum(row.count for row in self.counts)

    def by_name(self) -> dict[str, Counter[str | None]]:
        """For each application name, its connections by state."""
        names: dict[str, Counter[str | None]] = {}
        for row in self.counts:
            names.setdefault(row.application_name, Counter())[row.state] += row.count
        return names

    def as_json(self) -> dict[str, Any]:
        return {"total": self.total, "by_application": [asdict(row) for row in self.counts]}

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> "Live":
        """From the rows of `LIVE`."""
        return cls(tuple(Count(*row) for row in rows))


def ask(cursor: Cursor) -> tuple[Server, Live]:
    """The server's limits and what is open on it, the asking connection included.

    Raises:
        psycopg.Error, or Django's error around it: the server could not be asked.
    """
    cursor.execute(SERVER)
    server = Server.of(cursor.fetchall())
    cursor.execute(LIVE)
    return server, Live.of(cursor.fetchall())
