"""What the README shows is what a production deployment prints, and its queries find what they claim to find."""

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from roadmap.server.postgres import PrivatePostgres
from tests.readme import README, marked, output
from tests.service import Service, manage, migrate, wait_until
from tests.temporary_postgres import temporary_postgres

PRODUCTION = {"ENVIRONMENT": "production", "ALLOWED_HOSTS": "localhost", "SECRET_KEY": "x" * 50}
AT_REST = {
    ("roadmap_agent/web/joins", "idle"): 1,
    ("roadmap_agent/web/orm", "idle"): 32,
    ("roadmap_agent/web/watch", "idle"): 1,
    ("roadmap_agent/worker/checkpointer", "idle"): 2,
    ("roadmap_agent/worker/orm", "idle"): 8,
    ("roadmap_agent/worker/watch", "idle"): 1,
}
JOBS = range(
    2, 6
)  # of the jobs' pool and its listener: it grows when both of its workers ask at the same moment


class Deployment(NamedTuple):
    server: PrivatePostgres
    url: str
    web: Service


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Web and worker with the default production plan, alone on their server, at rest."""
    folder = tmp_path_factory.mktemp("deployment")
    with temporary_postgres(settings={"fsync": "off"}) as server:
        url = server.dsn()
        migrate(url)
        web, worker = (Service(kind, url, folder / f"{kind}.log", **PRODUCTION) for kind in ("web", "worker"))
        try:
            web.start()
            worker.start()
            wait_until(lambda: states(url) == AT_REST, 20, "all pools have their minimum")
            yield Deployment(server, url, web)
        finally:
            web.kill()
            worker.kill()


def ask(url: str, name: str) -> list[dict[str, object]]:
    """What one of the README's queries finds."""
    with psycopg.connect(url, application_name="tests", row_factory=dict_row) as connection:
        return connection.execute(marked(f"query: {name}")).fetchall()


def states(url: str) -> dict[tuple[object, object], object]:
    """Without those of the jobs' pool."""
    found = {(row["application_name"], row["state"]): row["count"] for row in ask(url, "states")}
    assert found.pop(("roadmap_agent/worker/jobs", "idle"), 2) in JOBS
    return found


class Session:
    """One more connection with a name of the service, to be made to misbehave."""

    def __init__(self, url: str):
        self._connection = psycopg.connect(url, application_name="roadmap_agent/web/orm")
        self.pid = self._connection.info.backend_pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.cancel_safe()  # the server would finish the query first
        self._connection.close()

    def leave_in_transaction(self, statement: str) -> None:
        self._connection.execute(statement)

    def begin(self, statement: bytes) -> None:
        """Send it, and do not wait for its end."""
        self._connection.pgconn.send_query(statement)


def without_what_varies(text: str) -> str:
    """Without the version, and the connections of the jobs' pool, which are between 2 and 5."""
    text = re.sub(r"PostgreSQL [\d.]+", "PostgreSQL", text)
    text = re.sub(
        r"^(worker|  jobs)((?: +\S+){3}|(?: +\d\S* \+ \d)(?: +\d+){2})( +\d+){4}$", r"\1\2", text, flags=re.M
    )
    return re.sub(r"(open on the server now) +\d+", r"\1", text).strip()


def test_check_pools_prints_the_table_that_is_shown(deployment: Deployment) -> None:
    def printed() -> bool:
        done = manage(deployment.url, "check_pools", **PRODUCTION)
        assert done.returncode == 1
        return without_what_varies(done.stdout) == without_what_varies(output("check_pools"))

    # A watch that asks at the same moment is active, and idle in the next.
    assert wait_until(printed, 20, "check_pools prints what the README shows")


def test_check_pools_answers_the_question_that_is_shown(deployment: Deployment) -> None:
    changes = re.search(r'--what-if "([^"]+)"', marked("what-if"))
    assert changes is not None
    done = manage(deployment.url, "check_pools", "--what-if", changes[1], **PRODUCTION)
    assert done.returncode == 0
    assert done.stdout.strip() == output("what-if").strip()


def test_the_exit_codes_are_those_of_the_table(deployment: Deployment) -> None:
    nobody = "postgresql://nobody@127.0.0.1:1/nowhere"
    codes = {
        0: manage(deployment.url, "check_pools", "--fail-level", "critical", **PRODUCTION),
        1: manage(deployment.url, "check_pools", **PRODUCTION),
        2: manage(deployment.url, "check_pools", **PRODUCTION, DEPLOY_SURGE="1"),
        3: manage(nobody, "check_pools", **PRODUCTION),
        4: manage(deployment.url, "check_pools", "--no-such-option", **PRODUCTION),
    }
    assert {code: done.returncode for code, done in codes.items()} == {code: code for code in codes}
    assert [int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)] == list(codes)


def test_health_answers_what_is_shown(deployment: Deployment) -> None:
    shown = json.loads(marked("health"))
    assert deployment.web.health() == {**shown, "version": deployment.web.health()["version"]}


def test_ready_answers_what_is_shown(deployment: Deployment, tmp_path: Path) -> None:
    deployment.server.create_database("empty")
    web = Service("web", deployment.server.dsn("empty"), tmp_path / "web.log")
    try:
        web.start(ready=False)
        answer = wait_until(lambda: answer_of(web), 30, "the watch has looked at the migrations")
    finally:
        web.kill()
    assert f"`{answer}`" in README
    assert f"`{deployment.web.get('/health/ready').text}`" in README


def answer_of(web: Service) -> str:
    try:
        answer = web.get("/health/ready")
    except httpx.TransportError:
        return ""
    return "" if answer.json().get("reason") in (None, "starting") else answer.text


def test_the_query_by_state_finds_what_is_open(deployment: Deployment) -> None:
    with Session(deployment.url) as one_more:
        one_more.leave_in_transaction("SELECT 1")
        expected = {**AT_REST, ("roadmap_agent/web/orm", "idle in transaction"): 1}
        assert wait_until(lambda: states(deployment.url) == expected, 10, "one is idle in a transaction")


def test_the_query_for_idle_in_transaction_finds_it(deployment: Deployment) -> None:
    with Session(deployment.url) as idle:
        idle.leave_in_transaction("SELECT 42")
        (row,) = ask(deployment.url, "idle in transaction")
        assert (row["pid"], row["last_query"]) == (idle.pid, "SELECT 42")


def test_the_query_for_the_longest_finds_the_oldest_first(deployment: Deployment) -> None:
    with Session(deployment.url) as older, Session(deployment.url) as younger:
        for session in (older, younger):
            session.begin(b"SELECT pg_sleep(60)")
            wait_until(partial(finds, deployment.url, "longest", session), 10, "the query runs")
        found = [row["pid"] for row in ask(deployment.url, "longest") if "pg_sleep" in str(row["query"])]
        assert found == [older.pid, younger.pid]


def test_the_query_for_locks_finds_who_waits_and_for_whom(deployment: Deployment) -> None:
    with Session(deployment.url) as holder, Session(deployment.url) as waiter:
        holder.leave_in_transaction("LOCK TABLE waitlist_entry")
        waiter.begin(b"SELECT * FROM waitlist_entry")
        wait_until(partial(finds, deployment.url, "locks", waiter), 10, "it waits for the lock")
        (row,) = ask(deployment.url, "locks")
        assert (row["blocked_by"], row["blocker_is"]) == (holder.pid, "idle in transaction")


def test_the_query_against_the_limit_counts_everybody(deployment: Deployment) -> None:
    def settled() -> bool:
        (row,) = ask(deployment.url, "limit")
        jobs = int(str(row["roadmap"])) - sum(AT_REST.values())
        return jobs in JOBS and (row["total"], row["usable"]) == (int(str(row["roadmap"])) + 1, 197)

    assert wait_until(settled, 10, "the service's connections and the asking one are counted")


def test_dbshell_takes_the_queries_over_a_socket_too(deployment: Deployment) -> None:
    if shutil.which("psql") is None:
        pytest.skip("psql is not on PATH")
    socket = deployment.server.dsn(tcp=False)
    done = manage(socket, "dbshell", "--", "-Atc", marked("query: states"), **PRODUCTION)
    assert "roadmap_agent/web/orm|idle|32" in done.stdout.splitlines()


def test_the_statements_for_a_new_database_run(deployment: Deployment) -> None:
    statements = marked("database").replace("roadmap", "another").splitlines()
    superuser = deployment.server.dsn("postgres", superuser=True)
    with psycopg.connect(superuser, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
        (limit,) = connection.execute(
            "SELECT setting FROM pg_file_settings WHERE name = 'max_connections' AND sourcefile LIKE '%auto.conf'"
        ).fetchall()
        connection.execute("ALTER SYSTEM RESET max_connections")
    assert (len(statements), limit) == (3, ("263",))


def finds(url: str, name: str, session: Session) -> bool:
    """Whether a query of the README finds this session."""
    return any(row["pid"] == session.pid for row in ask(url, name))
