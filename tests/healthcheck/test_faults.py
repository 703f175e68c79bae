"""Every error of a connection gets its class, by real servers that really refuse."""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import OperationalError as DjangoOperationalError
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from healthcheck import faults
from roadmap.server.postgres import PrivatePostgres
from tests import languages
from tests.conftest import Database
from tests.roadmap import ordinary_user
from tests.service import free_port, wait_until
from tests.temporary_postgres import temporary_postgres

FULL = 8  # connections of a server that is easily filled; three are kept back for superusers


@pytest.fixture(scope="module")
def small() -> Iterator[PrivatePostgres]:
    with temporary_postgres(max_connections=FULL) as server:
        yield server


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that the server's user gets into too."""
    path = ordinary_user.open_folder()
    yield path
    shutil.rmtree(path)


def refusal(address: str, **options: str) -> psycopg.OperationalError:
    """What a connect raises."""
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(address, connect_timeout=5, **options)
    return refused.value


@contextlib.contextmanager
def filled(server: PrivatePostgres) -> Iterator[None]:
    """Every slot that an ordinary role may have is taken."""
    with contextlib.ExitStack() as stack:
        for _ in range(FULL - 3):
            stack.enter_context(psycopg.connect(server.dsn()))
        yield


def test_a_server_at_its_limit_refuses(small: PrivatePostgres):
    with filled(small):
        error = refusal(small.dsn())
    assert "remaining connection slots are reserved" in str(error)
    assert error.sqlstate is None
    assert faults.classify(error) == "server_refused"


def test_too_many_clients_is_a_refusal(small: PrivatePostgres):
    with filled(small), contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(psycopg.connect(small.dsn(superuser=True)))
        error = refusal(small.dsn())
    assert "too many clients already" in str(error)
    assert faults.classify(error) == "server_refused"


@pytest.mark.parametrize("what", ["ROLE roadmap", "DATABASE roadmap_db"])
def test_the_limit_of_a_role_or_a_database_is_a_refusal(small: PrivatePostgres, what: str):
    with psycopg.connect(small.dsn(superuser=True), autocommit=True) as superuser:
        superuser.execute(f"ALTER {what} CONNECTION LIMIT 0")
        try:
            error = refusal(small.dsn())
        finally:
            superuser.execute(f"ALTER {what} CONNECTION LIMIT -1")
    assert "too many connections for" in str(error)
    assert faults.classify(error) == "server_refused"


def test_a_wrong_password_is_a_refusal(small: PrivatePostgres):
    error = refusal(small.dsn(), password="wrong")
    assert faults.classify(error) == "server_refused"


def test_a_database_that_is_not_there_is_a_refusal(small: PrivatePostgres):
    assert faults.classify(refusal(small.dsn("nowhere"))) == "server_refused"


def test_a_server_that_recovers_from_a_crash_is_a_refusal(own_database: Database):
    """One backend is killed; while a frozen one keeps the server waiting, it takes nobody in."""
    with (
        psycopg.connect(own_database.superuser_url) as frozen,
        psycopg.connect(own_database.superuser_url) as killed,
    ):
        os.kill(frozen.info.backend_pid, signal.SIGSTOP)
        os.kill(killed.info.backend_pid, signal.SIGKILL)
        # One that is let in at the very moment of the crash is cut off without a word.
        error = wait_until(lambda: refused(own_database.url, "recovery mode"), 4, "the server refuses")
    assert faults.classify(error) == "server_refused"


def refused(address: str, words: str) -> psycopg.OperationalError | None:
    error = attempt(address)
    return error if error and words in str(error) else None


def attempt(address: str) -> psycopg.OperationalError | None:
    try:
        psycopg.connect(address, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return error
    return None


def test_a_server_that_is_shutting_down_is_a_refusal(own_postgres: PrivatePostgres, own_database: Database):
    with psycopg.connect(own_database.url):
        os.kill(own_postgres.pid, signal.SIGTERM)  # it waits for this client
        error = wait_until(lambda: refused(own_database.url, "shutting down"), 10, "the server refuses")
    assert faults.classify(error) == "server_refused"


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_a_refusal_is_known_in_the_servers_own_language(
    language: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    languages.install(language, open_folder, monkeypatch)
    with (
        temporary_postgres(max_connections=FULL, settings={"lc_messages": language}) as server,
        filled(server),
    ):
        error = refusal(server.dsn())
    assert "FATAL" in str(error)
    assert ("remaining connection slots" in str(error)) == (language == languages.ENGLISH)
    assert faults.classify(error) == "server_refused"


def test_nobody_listening_is_a_failed_connect():
    error = refusal(f"postgresql://roadmap@127.0.0.1:{free_port()}/roadmap_db")
    assert faults.classify(error) == "connect_failed"


def test_a_name_that_does_not_resolve_is_a_failed_connect():
    error = refusal("postgresql://roadmap@nowhere.invalid/roadmap_db")
    assert faults.classify(error) == "connect_failed"


def test_a_server_that_does_not_answer_is_a_failed_connect(own_postgres: PrivatePostgres):
    os.kill(own_postgres.pid, signal.SIGSTOP)
    try:
        with pytest.raises(psycopg.OperationalError) as late:
            psycopg.connect(own_postgres.dsn(), connect_timeout=2)
    finally:
        os.kill(own_postgres.pid, signal.SIGCONT)
    assert faults.classify(late.value) == "connect_failed"


def test_a_connection_that_is_ended_by_the_server_is_lost(database: Database):
    with psycopg.connect(database.url, autocommit=True) as connection:
        with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError) as lost:
            connection.execute("SELECT 1")
        assert faults.classify(lost.value) == "connection_lost"
        with pytest.raises(psycopg.OperationalError) as closed:
            connection.execute("SELECT 1")
        assert faults.classify(closed.value) == "connection_lost"


@pytest.mark.parametrize(
    ("setting", "statement"),
    [("statement_timeout", "SELECT pg_sleep(10)"), ("lock_timeout", "LOCK TABLE waitlist_entry")],
)
def test_a_statement_that_takes_too_long_and_one_that_waits_for_a_lock(
    database: Database, setting: str, statement: str
):
    with psycopg.connect(database.url) as holder, psycopg.connect(database.url) as connection:
        holder.execute("LOCK TABLE waitlist_entry")
        connection.execute(f"SET {setting} = '50ms'")
        with pytest.raises(psycopg.OperationalError) as late:
            connection.execute(statement)
    assert faults.classify(late.value) == "statement_timeout"


def test_a_full_pool_and_its_full_queue(database: Database):
    with ConnectionPool(database.url, min_size=1, max_size=1, max_waiting=1, open=True) as pool:
        with pool.connection(), pytest.raises(PoolTimeout) as late:
            pool.getconn(timeout=0.05)
        assert faults.classify(late.value) == "pool_timeout"
    assert faults.classify(TooManyRequests("queue full")) == "pool_full"


def test_a_closed_pool_has_lost_its_connections(database: Database):
    with ConnectionPool(database.url, min_size=1, open=True) as pool:
        pass
    with pytest.raises(PoolClosed) as closed:
        pool.getconn()
    assert faults.classify(closed.value) == "connection_lost"


def test_a_path_with_a_line_in_it_makes_no_line_of_its_own_in_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "healthcheck.faults"):
        faults.record("client_gone", "/x\n2026-01-01 CRITICAL all is lost" + "x" * 1000)
    (line,) = caplog.messages
    assert line.startswith("client_gone in /x 2026-01-01 CRITICAL all is lost")
    assert "\n" not in line
    assert len(line) < 500


def test_djangos_wrapper_is_looked_through():
    """Both of a pool's errors come as the same one of Django's; the cause tells."""
    try:
        raise DjangoOperationalError from PoolTimeout("late")
    except DjangoOperationalError as error:
        wrapped = error
    assert faults.classify(wrapped) == "pool_timeout"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        psycopg.errors.UniqueViolation("x"),
        psycopg.errors.DiskFull("x"),
        psycopg.errors.DeadlockDetected("x"),
        psycopg.errors.SerializationFailure("x"),
    ],
)
def test_what_is_no_fault_of_a_connection_has_no_class(error: Exception):
    assert faults.classify(error) is None
