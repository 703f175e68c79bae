"""The check of a pool whose callers do again what a broken connection cost them."""

import asyncio

import psycopg
import pytest

from healthcheck.heal import FRESH, acheck_if_idle
from tests.service import query


def test_a_connection_is_checked_when_it_is_new_and_when_it_was_idle_for_long(database):
    async def check() -> None:
        connection = await psycopg.AsyncConnection.connect(database.url, autocommit=True)
        await acheck_if_idle(connection)
        end = "SELECT pg_terminate_backend(%s, 5000)"
        await asyncio.to_thread(query, database.superuser_url, end, connection.info.backend_pid)
        await acheck_if_idle(connection)  # it was seen to work a moment ago, and is not asked again
        connection.checked_at -= FRESH
        with pytest.raises(psycopg.OperationalError):
            await acheck_if_idle(connection)
        await connection.close()

    asyncio.run(check())
