"""`/health`, `/health/live` and `/health/ready`: quick whatever the database does, and never a load for it."""

import asyncio
import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from healthcheck.watch import GONE
from tests.client import API, Client, run
from tests.service import query, wait_until

pytestmark = pytest.mark.alone

FIGURES = {"size", "min", "max", "idle", "used", "overflow", "waiting", "timeouts"}
FAULTS = {
    "pool_timeout",
    "pool_full",
    "connect_failed",
    "server_refused",
    "connection_lost",
    "statement_timeout",
    "deadline",
    "client_gone",
}


def cut(database, pool: str) -> None:
    """End a pool's connections on the server, as an operator or a failover would."""
    query(
        database.superuser_url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
        database.name,
        f"roadmap_agent/web/{pool}",
    )


def test_a_healthy_process_passes_and_tells_its_figures(web):
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled")
    answer = web.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/health+json"
    assert answer.headers["cache-control"] == "no-store"
    health = answer.json()
    assert (health["status"], health["role"], health["notes"]) == ("pass", "web", [])
    assert set(health["pools"]) == {"orm", "checkpointer", "joins"}
    assert all(set(figures) == FIGURES for figures in health["pools"].values())
    assert health["pools"]["orm"] | {"waiting": 0} == {
        "size": 8,
        "min": 8,
        "max": 24,
        "idle": 8,
        "used": 0,
        "overflow": 0,
        "waiting": 0,
        "timeouts": 0,
    }
    assert health["faults"] == dict.fromkeys(FAULTS, 0)
    assert web.get("/health/live").json() == {"status": "pass"}
    assert web.get("/health/ready").json() == {"status": "pass"}


def test_a_worker_tells_the_same_of_itself(start, database):
    worker = start("worker", database)
    health = worker.health()
    assert health["role"] == "worker"
    assert {name: pool["max"] for name, pool in health["pools"].items()} == {
        "orm": 6,
        "checkpointer": 4,
        "jobs": 2,
    }
    assert worker.get("/health/live").status_code == 200


def test_a_process_is_not_ready_until_the_migrations_that_it_knows_are_applied(start, database):
    forgotten = query(
        database.url, "DELETE FROM django_migrations WHERE app = 'waitlist' RETURNING app, name, applied"
    )
    web = start("web", database, ready=False)
    wait_until(lambda: "Application startup complete" in web.log(), 20, "it has started")
    refused = wait_until(
        lambda: not_ready_for(web, "migrations_missing"), 5, "it says that migrations are missing"
    )
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert web.get("/health/live").status_code == 200
    for row in forgotten:
        query(
            database.url,
            "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s) RETURNING 1",
            *row,
        )
    wait_until(web.is_ready, 3, "it is ready once they are applied")
    assert web.join("ada@example.com").status_code == 202


def not_ready_for(web, reason: str):
    answer = web.get("/health/ready")
    return answer if answer.status_code == 503 and answer.json()["reason"] == reason else None


def test_however_many_ask_the_server_is_asked_once_a_second(postgres, database, start):
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" SET log_statement = "all"')
    web = start("web", database)
    name = "roadmap_agent/web/watch"
    ((pid,),) = query(
        database.superuser_url,
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
        database.name,
        name,
    )

    def looks() -> int:
        """Of each look one statement asks for the server's limits; the log has its process number and text."""
        entries = postgres.log.read_text(errors="replace").split(f"[{pid}] LOG:")[1:]
        return sum("current_setting('max_connections')" in entry for entry in entries)

    async def ask() -> int:
        async def one() -> int:
            asked, end = 0, asyncio.get_running_loop().time() + 3
            async with Client(web.url) as client:
                while asyncio.get_running_loop().time() < end:
                    for path in ("/health/ready", "/health", "/health/live"):
                        assert (await client.request("GET", path)).status == 200
                        asked += 1
            return asked

        return sum(await asyncio.gather(*(one() for _ in range(20))))

    wait_until(lambda: looks() > 1, 5, "the watch looks at the server")
    before, started = looks(), time.monotonic()
    asked = run(ask())
    seen, seconds = looks() - before, time.monotonic() - started
    assert asked > 1_000
    assert 0 < seen <= seconds + 1


async def seconds_of(url: str, path: str, times: int = 20) -> tuple[set[int], float]:
    """The statuses, and the slowest answer."""
    async with Client(url) as client:
        await client.request("GET", "/health/live")  # connecting is not what is measured
        answers = [await client.request("GET", path) for _ in range(times)]
    return {answer.status for answer in answers}, max(answer.seconds for answer in answers)


def failed(web):
    answer = web.get("/health")
    return answer if answer.status_code == 503 and answer.json()["status"] == "fail" else None


def test_health_answers_within_100_ms_while_postgresql_is_frozen_and_heals(start, own_postgres, own_database):
    web = start("web", own_database)
    assert web.join("before@example.com").status_code == 202
    children = Path(f"/proc/{own_postgres.pid}/task/{own_postgres.pid}/children").read_text().split()
    frozen = [own_postgres.pid, *map(int, children)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        not_ready = wait_until(lambda: not_ready_for(web, "connection_lost"), 5, "it is not ready")
        # It may have been this one connection.
        assert web.get("/health").status_code == 200
        gone = wait_until(lambda: failed(web), 5, "it fails: nobody can be answered who needs the database")
        idle = gone.json()["pools"]["orm"]["idle"]
        for path, expected in (("/health", {503}), ("/health/live", {200}), ("/health/ready", {503})):
            statuses, slowest = run(seconds_of(web.url, path))
            assert statuses == expected, path
            assert slowest < 0.1, path
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert not_ready.headers["retry-after"]
    assert gone.headers["retry-after"]
    assert gone.json()["notes"][0] == "the database does not answer"
    assert idle > 0, "connections that look fine are no reason to pass"
    wait_until(web.is_ready, 3, "it is ready again")
    assert web.get("/health").status_code == 200
    assert web.join("after@example.com").status_code == 202


def test_health_answers_within_100_ms_while_every_page_waits_for_a_lock(web, database):
    with psycopg.connect(database.superuser_url) as holder:
        holder.execute("LOCK TABLE django_session, waitlist_entry")

        async def look() -> tuple[set[int], float]:
            async def page() -> None:
                async with Client(web.url) as client:
                    await client.request("GET", "/admin/", headers={"Cookie": "sessionid=whatever"})

            pages = [asyncio.create_task(page()) for _ in range(40)]
            await asyncio.to_thread(
                wait_until, lambda: web.health()["threads"]["busy"] == 8, 5, "all threads are busy"
            )
            seen = await seconds_of(web.url, "/health")
            ready, _ = await seconds_of(web.url, "/health/ready")
            assert ready == {200}, "a busy process is not taken out of service"
            holder.rollback()
            await asyncio.gather(*pages)
            return seen

        statuses, slowest = run(look())
    assert statuses == {200}
    assert slowest < 0.1


def test_a_cut_connection_is_counted_as_lost_and_nothing_else(web, database):
    assert web.join("before@example.com").status_code == 202
    cut(database, "joins")
    assert web.join("after@example.com").status_code == 202
    faults = web.health()["faults"]
    assert faults.pop("connection_lost") >= 1
    assert set(faults.values()) == {0}
    assert "connection_lost within the last minute" in web.health()["notes"]
    assert web.health()["status"] == "warn"


def test_a_statement_that_waits_too_long_and_the_caller_that_waits_for_it_are_counted_apart(start, database):
    web = start("web", database, DB_LOCK_TIMEOUT="1")
    with psycopg.connect(database.superuser_url) as holder:
        holder.execute("LOCK TABLE waitlist_entry")
        answer = web.join("ada@example.com")
        holder.rollback()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    faults = web.health()["faults"]
    assert faults["deadline"] == 1
    assert faults["statement_timeout"] >= 1
    assert {faults[name] for name in FAULTS - {"deadline", "statement_timeout"}} == {0}
    assert web.join("ada@example.com").status_code == 202


def test_a_client_that_leaves_is_counted_and_no_reason_to_warn(web):
    async def leave() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", web.port)
        head = f"POST {API} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 20\r\n\r\n{{".encode())
        await asyncio.sleep(0.1)
        writer.transport.abort()

    run(leave())
    wait_until(lambda: web.health()["faults"]["client_gone"] == 1, 3, "the leaving is counted")
    assert web.health()["status"] == "pass"


def test_a_lost_watch_connection_comes_back_and_meanwhile_the_pools_serve(web, database):
    cut(database, "watch")
    assert web.join("during@example.com").status_code == 202
    wait_until(lambda: web.health()["faults"]["connection_lost"] >= 1, 3, "the loss is noticed")
    wait_until(web.is_ready, 3, "it is ready again")
    assert web.get("/health").status_code == 200


def test_a_watch_that_is_cut_again_and_again_fails_nobody(web, database):
    until = time.monotonic() + 2 * GONE
    cuts, statuses = 0, set()
    while time.monotonic() < until:
        cut(database, "watch")
        cuts += 1
        statuses.add(web.get("/health").status_code)
        assert web.join(f"{cuts}@example.com").status_code == 202
    assert cuts > 10
    assert statuses == {200}


def test_a_server_that_is_gone_fails_although_nobody_has_asked_for_a_connection(
    start, own_postgres, own_database
):
    web = start("web", own_database)
    own_postgres.stop()
    gone = wait_until(lambda: failed(web), 10, "it fails")
    assert gone.json()["notes"][0].startswith("the database does not answer")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_takes_head_and_refuses_other_methods(path, web):
    async def ask() -> list[tuple[int, bytes]]:
        async with Client(web.url) as client:
            answers = [await client.request(method, path) for method in ("GET", "HEAD", "POST", "DELETE")]
            return [(answer.status, answer.body) for answer in answers]

    got, head, *others = run(ask())
    assert got[0] == head[0] == 200
    assert head[1] == b""
    assert [status for status, _ in others] == [405, 405]
