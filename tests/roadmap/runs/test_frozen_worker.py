"""PostgreSQL frozen: nothing is answered, nothing is cut. A worker that is told to end ends all the same."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.roadmap.runs.desk import Desk
from tests.roadmap.test_frozen_server import processes_of
from tests.service import wait_until

pytestmark = pytest.mark.long

RUNS = 10


@contextlib.contextmanager
def frozen(server: PrivatePostgres) -> Iterator[None]:
    """All its processes; the first one first, so that it starts no others meanwhile."""
    os.kill(server.pid, signal.SIGSTOP)
    stopped = processes_of(server.pid)
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in reversed(stopped):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.fixture
def at_work(start, model, asks, own_database):
    """A worker with runs in all their steps: half of them draft, and half write."""
    worker = start("worker", own_database, **asks)
    with Desk(own_database, **asks) as desk:
        writing = [desk.start(goal=f"goal {number}") for number in range(RUNS // 2)]
        wait_until(lambda: desk.states() == {"review": RUNS // 2}, 60, "all outlines are there")
        model.settings(delay=0.5)
        for roadmap_id in writing:
            desk.approve(roadmap_id)
        for number in range(RUNS // 2, RUNS):
            desk.start(goal=f"goal {number}")
        wait_until(lambda: model.asked()["steps"].get("lesson", 0) > 5, 20, "lessons are being written")
        wait_until(lambda: model.asked()["steps"]["understand"] == RUNS, 20, "the others have been begun too")
    return worker


def test_it_ends_at_once(at_work, own_postgres):
    with frozen(own_postgres):
        began = time.monotonic()
        assert at_work.stop() == 0
        assert time.monotonic() - began < 30


def test_it_ends_once_everything_waits_for_the_server(at_work, own_postgres):
    with frozen(own_postgres):
        wait_until(lambda: all_are_waited_for(at_work), 20, "all threads and pools are in use")
        began = time.monotonic()
        assert at_work.stop() == 0
        assert time.monotonic() - began < 30


def all_are_waited_for(worker) -> bool:
    health = worker.health()
    busy = health["threads"]["busy"] == health["threads"]["max"]
    return busy and any(pool["waiting"] for pool in health["pools"].values())
