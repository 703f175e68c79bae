"""What is counted on the server: what `max_connections` counts, whoever it belongs to."""

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from healthcheck.activity import LIVE, SERVER, Live, Server, ask
from roadmap.server.postgres import PrivatePostgres
from tests.conftest import Database, copy_database


@pytest.fixture
def ours(database: Database) -> Iterator[psycopg.Connection]:
    """As the service's ordinary role."""
    with psycopg.connect(database.url, autocommit=True, application_name="ours") as connection:
        yield connection


def states(live: Live, name: str) -> dict[str | None, int]:
    return dict(live.by_name().get(name, {}))


def test_the_server_says_its_limits(database: Database, ours: psycopg.Connection):
    server, _ = ask(ours.cursor())
    assert (server.max_connections, server.reserved, server.usable, server.limit) == (200, 3, 197, 197)
    assert (server.role, server.is_superuser, server.role_limit) == ("roadmap", False, None)
    assert (server.database, server.database_limit, server.pooler) == (database.name, None, None)
    assert server.version_number // 10_000 == int(server.version.split(".")[0]) >= 15


def test_the_limits_of_the_role_and_the_database_are_read(own_database: Database):
    with psycopg.connect(own_database.superuser_url, autocommit=True) as superuser:
        superuser.execute(f'ALTER DATABASE "{own_database.name}" CONNECTION LIMIT 60')
        superuser.execute("ALTER ROLE roadmap CONNECTION LIMIT 50")
    with psycopg.connect(own_database.url, autocommit=True) as connection:
        server, _ = ask(connection.cursor())
    assert (server.role_limit, server.database_limit, server.usable, server.limit) == (50, 60, 197, 50)


def test_a_superuser_is_told_as_one(database: Database):
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        server, _ = ask(superuser.cursor())
    assert server.is_superuser


def test_connections_are_counted_by_name_and_state(database: Database, ours: psycopg.Connection):
    with contextlib.ExitStack() as stack:
        named = [
            stack.enter_context(psycopg.connect(database.url, application_name="roadmap_agent/web/orm"))
            for _ in range(3)
        ]
        named[0].execute("SELECT 1")
        with pytest.raises(psycopg.errors.DivisionByZero):
            named[1].execute("SELECT 1 / 0")
        _, live = ask(ours.cursor())
    assert states(live, "roadmap_agent/web/orm") == {
        "idle": 1,
        "idle in transaction": 1,
        "idle in transaction (aborted)": 1,
    }
    assert states(live, "ours") == {"active": 1}


def test_another_roles_connections_are_counted_without_a_state(database: Database, ours: psycopg.Connection):
    with psycopg.connect(database.superuser_url, application_name="a backup"):
        _, live = ask(ours.cursor())
    assert states(live, "a backup") == {None: 1}


def test_an_ordinary_role_counts_what_a_superuser_counts(postgres: PrivatePostgres, ours: psycopg.Connection):
    """Neither the server's own processes nor a replica's sender take a slot of `max_connections`."""
    dsn = postgres.dsn(superuser=True)
    with (
        psycopg.connect(dsn, autocommit=True) as superuser,
        psycopg.connect(dsn, autocommit=True, replication="database", application_name="a replica"),
    ):
        kinds = superuser.execute(
            "SELECT count(*), count(*) FILTER (WHERE backend_type = 'client backend'),"
            " count(*) FILTER (WHERE backend_type = 'walsender') FROM pg_stat_activity"
        ).fetchone()
        _, seen_by_us = ask(ours.cursor())
        _, seen_by_superuser = ask(superuser.cursor())
    assert kinds is not None
    everything, clients, senders = kinds
    assert senders == 1
    assert everything > clients + senders
    assert seen_by_us.total == seen_by_superuser.total == clients
    assert "a replica" not in seen_by_us.by_name()


def test_other_databases_count_too(postgres: PrivatePostgres, ours: psycopg.Connection):
    with psycopg.connect(copy_database(postgres).url, application_name="elsewhere"):
        _, live = ask(ours.cursor())
    assert states(live, "elsewhere") == {"idle": 1}


def test_an_asynchronous_connection_gets_the_same(database: Database):
    async def look() -> tuple[Server, Live]:
        async with await psycopg.AsyncConnection.connect(
            database.url, autocommit=True, application_name="async"
        ) as connection:
            server = Server.of(await (await connection.execute(SERVER)).fetchall())
            return server, Live.of(await (await connection.execute(LIVE)).fetchall())

    server, live = asyncio.run(look())
    assert server.database == database.name
    assert states(live, "async") == {"active": 1}
