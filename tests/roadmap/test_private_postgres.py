"""The private PostgreSQL: it keeps what it was given, and leaves nothing running."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from roadmap.server import binaries
from roadmap.server.binaries import PostgresError
from roadmap.server.postgres import PrivatePostgres
from tests.roadmap.private_postgres import STARTER, ask, gone
from tests.service import PROJECT, wait_until


def keep(server: PrivatePostgres) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def test_it_keeps_its_data_over_a_stop_and_a_start(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres()
    one.start()
    keep(one)
    one.stop()
    assert not one.alive
    one.start()
    assert ask(one.dsn(), "SELECT answer FROM kept") == 42


def test_starting_it_twice_changes_nothing(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres()
    one.start()
    pid = one.pid
    one.start()
    assert one.pid == pid


@pytest.mark.parametrize("by_hand", [False, True])
def test_it_recovers_from_kill_9(private_postgres: Callable[..., PrivatePostgres], by_hand: bool) -> None:
    one = private_postgres()
    one.start()
    keep(one)
    if by_hand:
        os.kill(one.pid, signal.SIGKILL)
    else:
        one.stop("crash")
    one.start()
    assert ask(one.dsn(), "SELECT answer FROM kept") == 42


def test_it_keeps_its_address_over_a_restart(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres(tcp=True)
    one.start()
    address = one.dsn()
    one.stop()
    one.start()
    assert ask(address, "SELECT 1") == 1


def test_the_role_is_an_ordinary_one_and_owns_the_database(
    private_postgres: Callable[..., PrivatePostgres],
) -> None:
    one = private_postgres(max_connections=20)
    one.start()
    assert ask(one.dsn(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert ask(one.dsn(), owner) == "roadmap"
    assert ask(one.dsn("postgres", superuser=True), "SELECT current_setting('is_superuser')") == "on"
    held = [psycopg.connect(one.dsn()) for _ in range(17)]
    with pytest.raises(psycopg.OperationalError, match="reserved"):
        psycopg.connect(one.dsn())
    assert ask(one.dsn("postgres", superuser=True), "SHOW max_connections") == "20"
    for connection in held:
        connection.close()


def test_only_its_user_gets_to_the_socket_and_nothing_listens_on_tcp(
    private_postgres: Callable[..., PrivatePostgres],
) -> None:
    one = private_postgres()
    one.start()
    for private in (one.folder, one.socket_folder):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.stat().st_uid == (one.account.pw_uid if one.account else os.geteuid())
    assert ask(one.dsn(), "SHOW listen_addresses") == ""


def test_tcp_takes_a_password(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres(tcp=True)
    one.start()
    assert ask(one.dsn(), "SELECT current_user || ' ' || host(inet_server_addr())") == "roadmap 127.0.0.1"
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{one.port}/postgres")
    with socket.socket() as outside, pytest.raises(OSError, match="refused"):
        outside.connect(("127.0.0.2", one.port))


def test_several_databases(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres()
    one.start()
    one.create_database("with a space")
    assert ask(one.dsn("with a space"), "SELECT current_database()") == "with a space"


def test_the_environment_changes_neither_language_nor_place(
    private_postgres: Callable[..., PrivatePostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LC_ALL", "xx_YY"), ("LANG", "de_DE"), ("PGDATA", "/nowhere"), ("PGPORT", "1")):
        monkeypatch.setenv(name, value)
    one = private_postgres()
    one.start()
    assert ask(one.dsn(), "SELECT lower('ÄÖÜ')") == "äöü"
    assert ask(one.dsn(), "SHOW lc_messages") in ("C", "C.UTF-8")
    names = Path(f"/proc/{one.pid}/environ").read_text().split("\0")
    assert not [name for name in names if name.startswith(("LC_", "LANG", "PG"))]


def test_an_interrupted_initdb_is_begun_anew(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres()
    (one.folder / "data.unfinished").mkdir(parents=True)
    (one.folder / "data.unfinished" / "PG_VERSION").write_text("15\n")
    one.start()
    assert ask(one.dsn(), "SELECT 1") == 1
    assert not (one.folder / "data.unfinished").exists()


@pytest.mark.parametrize(
    ("other", "state"),
    [
        pytest.param("sleep 60 & echo $!; wait", "S", id="another program's"),
        # It ends when its parent is no shell any more, which would wait for it.
        pytest.param("sleep 1 & echo $!; exec sleep 60", "Z", id="a dead one's that nobody waits for"),
    ],
)
def test_after_a_crash_the_process_number_in_its_files_is_not_in_the_way(
    private_postgres: Callable[..., PrivatePostgres], other: str, state: str
) -> None:
    one = private_postgres()
    one.start()
    crashed = str(one.pid)
    one.stop("crash")
    command = ["/bin/sh", "-c", other]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **binaries.credentials(one.account),
    ) as shell:
        assert shell.stdout is not None
        pid = shell.stdout.readline().strip()
        stat = Path(f"/proc/{pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == state, 10, f"it is {state}")
        for file in (one.folder / "data" / "postmaster.pid", one.socket_folder / ".s.PGSQL.5432.lock"):
            file.write_text(file.read_text().replace(crashed, pid, 1))
        one.start()
        assert ask(one.dsn(), "SELECT 1") == 1
        assert stat.exists()
        os.killpg(shell.pid, signal.SIGKILL)


def test_a_server_left_over_on_its_data_is_ended(private_postgres: Callable[..., PrivatePostgres]) -> None:
    left = private_postgres()
    left.start()
    keep(left)
    taken_up = private_postgres()
    taken_up.start()
    assert not left.alive
    assert ask(taken_up.dsn(), "SELECT answer FROM kept") == 42


def test_it_ends_when_the_process_that_started_it_is_killed(open_folder: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(open_folder / "data")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not gone(pid)
        starter.kill()
    wait_until(lambda: gone(pid), 20, "PostgreSQL has ended")
    assert not (open_folder / "data" / "data" / "postmaster.pid").exists(), "it was not shut down in order"


def test_data_of_another_version_is_refused_by_name(private_postgres: Callable[..., PrivatePostgres]) -> None:
    one = private_postgres()
    one.start()
    one.stop()
    (one.folder / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 14"):
        one.start()


def test_a_server_that_cannot_start_gives_its_reason(
    private_postgres: Callable[..., PrivatePostgres],
) -> None:
    one = private_postgres(settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match=r"invalid value for parameter .*shared_buffers.*postgres\.log"):
        one.start()
    assert not one.alive
