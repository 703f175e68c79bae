"""The worker's processes: as many as planned, one fate for all of them, an orderly end."""

import os
import signal
from pathlib import Path

import pytest

from tests.service import connections_by_name, wait_until

# The development plan of the worker, shared out over two processes: 3 of 6, 2 of 4, 1 of 2 for jobs and one more that
# listens for them; each with its own watch.
MOST = {
    "roadmap_agent/worker/orm": 6,
    "roadmap_agent/worker/checkpointer": 4,
    "roadmap_agent/worker/jobs": 4,
    "roadmap_agent/worker/watch": 2,
}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def names(database) -> dict[str, int]:
    return connections_by_name(database.superuser_url, database.name)


@pytest.fixture
def worker(start, database):
    # Without a port for its health: each process needs one of its own, and only one is known to be free.
    worker = start("worker", database, ready=False, WORKER_PROCESSES="2", WORKER_PORT="0")
    wait_until(lambda: settled(database), 20, "both have their connections")
    return worker


def settled(database) -> bool:
    open_now = names(database)
    return (
        open_now.get("roadmap_agent/worker/watch") == 2 and open_now.get("roadmap_agent/worker/orm", 0) >= 2
    )


def test_two_processes_share_what_is_planned_for_the_worker(worker, database):
    assert len(children(worker.process.pid)) == 2
    open_now = names(database)
    assert open_now.keys() <= MOST.keys()
    assert all(count <= MOST[name] for name, count in open_now.items())


def test_sigterm_ends_all_of_them_with_0_and_leaves_no_connection(worker, database):
    assert worker.stop() == 0
    assert names(database) == {}
    assert worker.log().count("has ended") == 2
    assert "Traceback" not in worker.log()


def test_when_one_is_killed_the_others_end_too_so_that_all_are_started_again(worker, database):
    os.kill(children(worker.process.pid)[0], signal.SIGKILL)
    assert worker.process.wait(20) != 0
    wait_until(lambda: names(database) == {}, 5, "no connection is left")


def test_one_process_alone_ends_with_0(start, database):
    worker = start("worker", database)
    assert children(worker.process.pid) == []
    assert worker.stop() == 0
    assert names(database) == {}


def test_processes_whose_parent_was_killed_end_by_themselves(worker, database):
    worker.process.kill()
    worker.process.wait()
    wait_until(lambda: names(database) == {}, 10, "no connection is left")
    assert worker.log().count("has ended") == 2
