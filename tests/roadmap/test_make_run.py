"""`make run` as a newcomer uses it: one command, everything works, and nothing is left running."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.roadmap import ordinary_user
from tests.roadmap.clone import MakeRun, ends_in_order, make_clone, processes, seed
from tests.service import wait_until

pytestmark = pytest.mark.long

COLD, WARM = 60.0, 3.0  # seconds to the first page, by contract


def joined_found_and_exported(run: MakeRun) -> None:
    """What a newcomer does first, as visitor, as staff and as operator."""
    with httpx.Client(base_url=run.url, timeout=20) as browser:
        page = browser.get("/")
        assert page.status_code == 200
        assert 'name="email"' in page.text
        joined = browser.post("/", data={"email": "Ada@example.com", "source": "friend"})
        assert (joined.status_code, joined.headers["location"]) == (303, "/thanks")
        assert browser.get("/thanks").status_code == 200

        sign_in = browser.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', sign_in.text)
        assert token is not None
        fields = {"csrfmiddlewaretoken": token[1], "username": "staff", "password": run.staff_password()}
        assert browser.post("/admin/login/?next=/admin/", data=fields).status_code == 302
        assert "Ada@example.com" in browser.get("/admin/waitlist/entry/?q=ada@example.com").text
        exported = browser.get("/admin/waitlist/entry/export/").text.splitlines()
        assert any("Ada@example.com" in row for row in csv.reader(exported))

    assert run.command("check_pools").returncode in (0, 1)


@pytest.mark.alone
def test_from_nothing(open_folder: Path, run: Callable[..., MakeRun]) -> None:
    """Virtual environment, requirements, database, page: all of it, within a minute."""
    probe = ["download", "--no-deps", "--no-cache-dir", "--dest", str(open_folder / "probe"), "sqlparse"]
    if subprocess.run([sys.executable, "-m", "pip", *probe], capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached from here")
    started = time.monotonic()
    new = run(make_clone(open_folder / "a clone"))
    new.wait_for_the_page(COLD)
    assert time.monotonic() - started < COLD
    for told in ("Making .venv", "Installing", "Starting PostgreSQL", "Applying", "Starting web"):
        assert told in new.output()
    joined_found_and_exported(new)
    new.press_ctrl_c()
    new.wait()
    ends_in_order(new)
    assert not (open_folder / "a clone" / ".venv" / "tests-requirements").exists()


def test_an_ordinary_user(open_folder: Path, run: Callable[..., MakeRun]) -> None:
    python, variables = ordinary_user.python(open_folder)
    path = make_clone(open_folder / "their clone")
    seed(path, python, variables)
    (open_folder / "home").mkdir()
    ordinary_user.hand_over(open_folder)
    theirs = run(path, as_somebody=True, HOME=str(open_folder / "home"), **variables)
    theirs.wait_for_the_page()
    joined_found_and_exported(theirs)
    user = ordinary_user.somebody().pw_uid
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes(path)}
    assert owners == {user}
    theirs.press_ctrl_c()
    theirs.wait()
    ends_in_order(theirs)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that PostgreSQL's user cannot enter")
def test_root_below_its_own_closed_folder(open_folder: Path, run: Callable[..., MakeRun]) -> None:
    open_folder.chmod(0o700)
    path = make_clone(open_folder / "a clone")
    seed(path)
    link = path / ".data" / "postgres"
    roots = run(path)
    try:
        roots.wait_for_the_page()
        data = link.resolve()
        assert f"The database is in {data}" in roots.output()
        joined_found_and_exported(roots)
        roots.press_ctrl_c()
        roots.wait()
        ends_in_order(roots)
        assert not processes(data)
    finally:
        roots.kill()
        shutil.rmtree(link.resolve(), ignore_errors=True)


def test_two_clones_at_once(clone: Path, open_folder: Path, run: Callable[..., MakeRun]) -> None:
    other = make_clone(open_folder / "another")
    seed(other)
    one, two = run(clone), run(other)
    one.wait_for_the_page()
    two.wait_for_the_page()
    joined_found_and_exported(two)
    one.press_ctrl_c()
    one.wait()
    ends_in_order(one)
    assert httpx.get(f"{two.url}/health/ready").status_code == 200
    two.press_ctrl_c()
    two.wait()
    ends_in_order(two)


def test_a_second_one_in_the_same_clone_says_so_and_ends(clone: Path, run: Callable[..., MakeRun]) -> None:
    first = run(clone)
    first.wait_for_the_page()
    second = run(clone)
    assert second.wait() != 0
    assert "Another `make run` is at work in this folder" in second.output()
    assert httpx.get(f"{first.url}/health/ready").status_code == 200


@pytest.mark.parametrize("way", ["Ctrl-C twice", "SIGTERM to make", "terminal closed"])
def test_every_ordinary_end_ends_everything(clone: Path, run: Callable[..., MakeRun], way: str) -> None:
    one = run(clone)
    one.wait_for_the_page()
    if way == "Ctrl-C twice":
        one.press_ctrl_c()
        wait_until(lambda: "Stopping" in one.output(), 10, "the first Ctrl-C is heard")
        one.press_ctrl_c()
    elif way == "SIGTERM to make":
        one.process.terminate()
    else:
        one.close_the_terminal()
    one.wait()
    ends_in_order(one)
    stopped = one.output().index("Stopping PostgreSQL")
    assert one.output().index("Shutting down: Master") < stopped, "the database ends last"


@pytest.mark.parametrize("victim", ["supervisor", "make"])
def test_kill_9_leaves_nothing_running_and_the_next_one_starts(
    clone: Path, run: Callable[..., MakeRun], victim: str
) -> None:
    one = run(clone)
    one.wait_for_the_page()
    os.kill(one.supervisor() if victim == "supervisor" else one.process.pid, signal.SIGKILL)
    one.wait()
    wait_until(lambda: not processes(clone), 30, "nothing is left running")
    again = run(clone)
    again.wait_for_the_page()
    assert httpx.get(f"{again.url}/health/ready").status_code == 200


def test_ctrl_c_while_it_is_starting(clone: Path, run: Callable[..., MakeRun]) -> None:
    one = run(clone)
    wait_until(lambda: "Starting PostgreSQL" in one.output(), 20, "it is at work")
    one.press_ctrl_c()
    one.wait()
    ends_in_order(one)
    assert "Roadmap is at" not in one.output(), "it had not come so far"


@pytest.mark.parametrize(("victim", "named"), [("-m gunicorn", "web"), ("run_worker", "worker")])
def test_when_one_of_them_dies_everything_ends(
    clone: Path, run: Callable[..., MakeRun], victim: str, named: str
) -> None:
    one = run(clone)
    one.wait_for_the_page()
    # gunicorn's master is the first of its processes.
    os.kill(min(pid for pid, line in processes(clone).items() if victim in line), signal.SIGKILL)
    assert one.wait() != 0
    assert f"The {named} has ended by itself (SIGKILL), so everything is stopped." in one.output()
    ends_in_order(one)
