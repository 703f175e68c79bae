"""200 runs at once, with a model that takes 2 s: joins and pages are as fast as beside an equal load of the processor.

After the runs, processes that only compute take the processor as the threads of the worker, of its model and of the
server's processes for them have taken it, as much at the same moments: what is left of a difference would be due to
connections.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.client import Client, run
from tests.people import sign_in
from tests.roadmap.runs.desk import Desk
from tests.sampling import Sampler
from tests.service import Service, query, wait_until

pytestmark = pytest.mark.alone

RUNS = 200
WATCHED = 8.0  # seconds beside the runs, and as many beside the other load
LONG = 10.0  # seconds
VISITORS = 4
SLOWER = 2.0  # × at most; 1.3 × is usual, and a machine with other guests has made it 1.7
SLOT = 0.025  # seconds, in each of which the other load computes for as long as the thread that it stands for has
LEAST = 0.001  # of a core; who takes less is left out
PRODUCTION = {  # 's sizes; a browser's cookies would need https there
    "DB_POOL_MIN_SIZE": "40",
    "DB_POOL_MAX_SIZE": "100",
    "WORKER_DB_POOL_MIN_SIZE": "8",
    "WORKER_DB_POOL_MAX_SIZE": "20",
    "CHECKPOINTER_POOL_MIN_SIZE": "2",
    "CHECKPOINTER_POOL_MAX_SIZE": "10",
    "WEB_CHECKPOINTER_POOL_MAX_SIZE": "2",
    "JOBS_POOL_MAX_SIZE": "4",
    "JOINS_POOL_MAX_SIZE": "2",
}
PLAN = {"web/orm": 80, "web/checkpointer": 2, "web/joins": 2, "web/watch": 1}
PLAN |= {"worker/orm": 20, "worker/checkpointer": 8, "worker/jobs": 5, "worker/watch": 1, "command": 2}
NOT_OF_THE_WORKER = """
    SELECT pid FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND application_name NOT LIKE 'roadmap_agent/worker/%'
"""
DOING = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing' AND task_name = 'run'"
COMPUTE = """
import itertools, json, sys, time
slot, spent = json.loads(sys.argv[1])
# Some megabytes, as a program has them: a loop over a few bytes would leave the processor's caches to the others.
texts = itertools.cycle([json.dumps([[one, str(one)] for one in range(n, n + 10)]) for n in range(0, 50_000, 10)])
kept = [json.loads(next(texts)) for _ in range(5000)]
print("ready", flush=True)
sys.stdin.readline()
began, due = time.monotonic(), time.process_time()
for number, (seconds, turns) in enumerate(spent):
    for turn in range(1, turns + 1):
        due += seconds / turns
        while time.process_time() < due:
            kept[number % 5000] = json.loads(next(texts))
        time.sleep(max(0, began + (number + turn / turns) * slot - time.monotonic()))
"""


class Processor:
    """What each thread of some processes takes of the processor, slot by slot."""

    def __init__(self, pids: list[int], parent: int, but: list[int]):
        """Of those, and of the children of `parent` at each moment, `but` these."""
        self.pids = pids
        self.children = Path(f"/proc/{parent}/task/{parent}/children")
        self.but = but
        self.slots: list[dict[Path, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._record)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def shares(self) -> list[list[tuple[float, int]]]:
        """Of each thread that counts, the seconds that it has had in each slot, and in how many turns."""
        shares = []
        for thread in {thread for slot in self.slots for thread in slot}:
            known = [slot[thread] for slot in self.slots if thread in slot]
            so_far = [slot.get(thread, known[0]) for slot in self.slots]
            spent = [
                (max(0.0, after[0] - before[0]), max(1, after[1] - before[1]))
                for before, after in itertools.pairwise(so_far)
            ]
            if sum(seconds for seconds, _ in spent) > LEAST * SLOT * len(spent):
                shares.append(spent)
        return shares

    def _record(self) -> None:
        next_slot = time.monotonic()
        while not self._done.is_set():
            pids = {*self.pids, *map(int, self.children.read_text().split())}.difference(self.but)
            self.slots.append({thread: used for pid in pids for thread, used in _used(pid)})
            next_slot += SLOT
            time.sleep(max(0.0, next_slot - time.monotonic()))


def _used(pid: int) -> Iterator[tuple[Path, tuple[float, int]]]:
    """What each thread of a process has had so far: seconds, and turns."""
    for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # it has ended
            nanoseconds, _, turns = map(int, thread.read_text().split())
            yield thread, (nanoseconds / 1e9, turns)


@contextlib.contextmanager
def computing(shares: list[list[tuple[float, int]]]) -> Iterator[None]:
    """A process for each of the `shares`."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPUTE, json.dumps([SLOT, spent])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for spent in shares
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def visit(url: str, cookie: str, seconds: float) -> list[float]:
    """How long joins and pages took."""

    async def one(label: str) -> list[float]:
        ends, took = time.monotonic() + seconds, []
        async with Client(url) as client:
            while time.monotonic() < ends:
                join = await client.join(f"{label}-{len(took)}@example.com")
                page = await client.request("GET", "/roadmaps/", headers={"Cookie": cookie})
                assert (join.status, page.status) == (202, 200)
                took += [join.seconds, page.seconds]
                await asyncio.sleep(0.01)
        return took

    labels = [secrets.token_hex(4) for _ in range(VISITORS)]
    return [each for took in await asyncio.gather(*map(one, labels)) for each in took]


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) * 99 // 100]


def test_joins_and_pages_are_as_fast_as_beside_an_equal_load(start, model, asks, postgres, database):
    model.settings(stages=4, concepts=5)
    web = start("web", database, **PRODUCTION)
    cookie = sign_in(web, database)
    run(visit(web.url, cookie, 1))
    beside_runs: list[float] = []
    beside_load: list[float] = []

    def worker() -> Service:
        return start("worker", database, **PRODUCTION, **asks, WORKER_RUNS=str(RUNS))

    def compare() -> None:
        """Watch beside the runs, then beside the other load."""
        model.settings(
            delay=LONG
        )  # until all have begun: the model's client takes the worker's whole core otherwise
        at_work = worker()
        wait_until(lambda: query(database.url, DOING)[0][0] == RUNS, 60, "all runs are at work")
        model.settings(delay=2.0)
        asked = model.asked()["requests"]
        wait_until(lambda: model.asked()["requests"] > asked + RUNS, 60, "the model takes 2 s")
        not_its = [pid for (pid,) in query(database.superuser_url, NOT_OF_THE_WORKER)]
        with Processor([at_work.process.pid, model.pid], postgres.pid, not_its) as processor:
            beside_runs.extend(run(visit(web.url, cookie, WATCHED)))
        assert query(database.url, DOING)[0][0] == RUNS, "they have been at work all the time"
        at_work.kill()  # they would go on for minutes
        shares = processor.shares()
        cores = sum(seconds for spent in shares for seconds, _ in spent) / WATCHED
        turns = sum(turns for spent in shares for _, turns in spent) / WATCHED
        print(f"{cores:.2f} cores, by {len(shares)} threads in {turns:.0f} turns a second")
        with computing(shares):
            beside_load.extend(run(visit(web.url, cookie, WATCHED)))

    with (
        Desk(database, **asks) as desk,
        Sampler(database.superuser_url, database.name) as sampler,
    ):
        first = worker()
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(RUNS)]
        wait_until(lambda: desk.states() == {"review": RUNS}, 120, "all wait for their review")
        first.stop()
        for roadmap_id in roadmaps:
            desk.approve(roadmap_id)
        compare()
    ratio = p99(beside_runs) / p99(beside_load)
    print(f"p99 {p99(beside_runs) * 1000:.0f} ms and {p99(beside_load) * 1000:.0f} ms: {ratio:.2f} ×")
    assert ratio < SLOWER
    for name, most in sampler.most_open.items():
        assert most <= PLAN[name.removeprefix("roadmap_agent/")], f"{name} had {most} connections"
    assert sampler.most_open["roadmap_agent/worker/checkpointer"] > 1
    assert web.health()["faults"] == dict.fromkeys(web.health()["faults"], 0)
