"""How `make run` starts: at once when nothing has changed, and not at all, with a reason, when it cannot."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.roadmap.clone import MakeRun, ends_in_order, environment, make_clone, processes

pytestmark = pytest.mark.long

COLD, WARM = 60.0, 3.0  # seconds to the first page, by contract


@pytest.mark.alone
def test_the_second_time_it_is_there_within_3_seconds_with_the_same_data(
    clone: Path, run: Callable[..., MakeRun]
) -> None:
    first = run(clone)
    first.wait_for_the_page()
    first.command(
        "shell", "--command", "from waitlist.models import Entry; Entry.objects.create(email='kept')"
    )
    first.press_ctrl_c()
    first.wait()
    took = []
    for _ in range(3):
        started = time.monotonic()
        again = run(clone)
        again.wait_for_the_page()
        took.append(time.monotonic() - started)
        kept = again.command(
            "shell", "--command", "from waitlist.models import Entry; print(Entry.objects.get().email)"
        )
        assert "kept" in kept.stdout
        assert "password" not in again.output(), "a staff login is made only once"
        again.press_ctrl_c()
        again.wait()
        ends_in_order(again)
    assert min(took) < WARM


def test_what_has_changed_is_set_up_again(clone: Path, run: Callable[..., MakeRun]) -> None:
    def output_of_a_run() -> str:
        one = run(clone)
        one.wait_for_the_page()
        one.press_ctrl_c()
        one.wait()
        return one.output()

    output_of_a_run()
    assert "Nothing has changed since the last set-up" in output_of_a_run()
    (clone / "waitlist" / "models.py").touch()
    assert "Checking the tables: all migrations are applied" in output_of_a_run()
    taken_back = run(clone)
    taken_back.wait_for_the_page()
    assert taken_back.command("migrate", "sessions", "zero").returncode == 0
    taken_back.press_ctrl_c()
    taken_back.wait()
    assert "Applying 1 migrations" in output_of_a_run()


def test_a_port_that_is_taken_is_one_sentence_before_anything_starts(clone: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = MakeRun(clone, taken.getsockname()[1])
        assert one.wait() != 0
    assert f"Port {taken_port(one)} is taken by another program" in one.output()
    assert "Starting" not in one.output()


def taken_port(run: MakeRun) -> str:
    return run.url.rpartition(":")[2]


@pytest.mark.parametrize("port", ["eighty", "0", "65536", "-1"])
def test_a_port_that_is_none_is_one_sentence(clone: Path, port: str) -> None:
    done = subprocess.run(
        ["make", "run"], cwd=clone, env=environment(PORT=port), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == f"PORT is {port!r}; it takes a number from 1 to 65535.\n"


def test_settings_that_are_refused_end_it_with_their_sentence(
    clone: Path, run: Callable[..., MakeRun]
) -> None:
    one = run(clone, DB_POOL_MAX_SIZE="many")
    assert one.wait() != 0
    assert "DB_POOL_MAX_SIZE is 'many'; it takes" in one.output()
    assert "Traceback" not in one.output()
    ends_in_order(one)


def test_a_given_database_is_used_and_none_is_started(
    clone: Path, run: Callable[..., MakeRun], database: "object"
) -> None:
    one = run(clone, DATABASE_URL=database.url)  # type: ignore[attr-defined]
    one.wait_for_the_page()
    assert "Starting PostgreSQL" not in one.output()
    assert not any("postgres -D" in line for line in processes(clone).values())
    one.press_ctrl_c()
    one.wait()
    ends_in_order(one)


def test_without_a_new_enough_python_make_says_what_is_needed(clone: Path, tmp_path: Path) -> None:
    bare = make_clone(tmp_path / "a clone")
    for program in ("sh", "env"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    make = shutil.which("make") or "make"
    done = subprocess.run(
        [make, "run"],
        cwd=bare,
        env=environment(PATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.12 or newer is needed and none was found on PATH" in done.stderr
