"""The threads of a web process share a core while it is busy, and a password's hash does not stay there."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from roadmap.server import cores
from roadmap.server.hashers import Hasher
from tests.client import Client, run
from tests.service import are_on_one_core, cores_of_threads, wait_until

PAGE = "/accounts/login/"


def test_a_busy_process_keeps_its_threads_on_one_core_and_an_idle_one_lets_them_go(web):
    everywhere = os.sched_getaffinity(0)
    assert len(everywhere) > 1, "this test needs two cores"
    (pid,) = web.worker_pids()
    wait_until(
        lambda: all(cores == everywhere for cores in cores_of_threads(pid)), 20, "it has done its start"
    )

    async def ask_until(together: asyncio.Event) -> None:
        async with Client(web.url) as client:
            while not together.is_set():
                assert (await client.request("GET", PAGE)).status == 200

    async def keep_busy() -> None:
        together = asyncio.Event()
        askers = [asyncio.create_task(ask_until(together)) for _ in range(4)]
        try:
            await asyncio.to_thread(
                wait_until, lambda: are_on_one_core(cores_of_threads(pid)), 20, "they share a core"
            )
        finally:
            together.set()
        await asyncio.gather(*askers)

    run(keep_busy())
    wait_until(lambda: all(cores == everywhere for cores in cores_of_threads(pid)), 5, "they are let go")


@pytest.mark.alone
def test_an_event_loop_that_works_alone_may_use_every_core(web):
    everywhere = os.sched_getaffinity(0)
    (pid,) = web.worker_pids()
    wait_until(
        lambda: all(cores == everywhere for cores in cores_of_threads(pid)), 20, "it has done its start"
    )

    async def join_for(seconds: float) -> list[set[int]]:
        """Where the threads were meanwhile."""
        seen: list[set[int]] = []
        until = time.monotonic() + seconds

        async def keep_joining(who: int) -> None:
            async with Client(web.url) as client:
                number = 0
                while time.monotonic() < until:
                    number += 1
                    assert (await client.join(f"{who}.{number}@example.com")).status == 202
                    if number % 50 == 0:
                        seen.extend(cores_of_threads(pid))

        before = cpu_seconds(pid)
        await asyncio.gather(*(keep_joining(who) for who in range(20)))
        assert cpu_seconds(pid) - before > cores.BUSY * seconds, "it was busy"
        return seen

    seen = run(join_for(3))
    assert len(seen) > 4
    assert all(cores == everywhere for cores in seen)


def cpu_seconds(pid: int) -> float:
    """That a process has used."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def kept_on_one_core():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield {min(before)}
    os.sched_setaffinity(0, before)


def test_a_hash_uses_every_core_and_its_thread_goes_back(kept_on_one_core, monkeypatch):
    during: list[set[int]] = []
    of_django = Hasher.__base__.encode

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        during.append(os.sched_getaffinity(0))
        return of_django(self, password, salt, 1)

    monkeypatch.setattr(Hasher.__base__, "encode", encode)
    Hasher().encode("secret", "salt")
    assert during == [cores.ALL]
    assert os.sched_getaffinity(0) == kept_on_one_core


def test_a_hash_is_djangos_own():
    hasher = Hasher()
    encoded = hasher.encode("secret", "salt")
    assert encoded.startswith("pbkdf2_sha256$")
    assert hasher.verify("secret", encoded)
    assert not hasher.verify("another", encoded)


def test_a_process_without_a_descriptor_left_leaves_its_threads_where_they_are_and_goes_on(monkeypatch):
    for share in ("BUSY", "BESIDE"):
        monkeypatch.setattr(cores, share, 0.01)  # though the tests beside it have the cores

    def be_busy() -> None:
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass

    async def look_with(together: cores.Together, files: int) -> None:
        """After a busy moment of another thread, and until what follows from it is done."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        await asyncio.to_thread(be_busy)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files or soft, hard))
        try:
            together.look()
            await asyncio.sleep(2 * cores.LET_GO)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    async def look_again_and_again() -> list[set[int]]:
        together = cores.Together()
        for files in (0, 1, 0):
            await look_with(together, files)
        gathered = os.sched_getaffinity(0)
        await look_with(together, 1)
        monkeypatch.setattr(cores, "BUSY", 2.0)
        together.look()
        return [gathered, os.sched_getaffinity(0)]

    gathered, let_go = run(look_again_and_again())
    assert len(gathered) == 1
    assert let_go == cores.ALL


def test_where_the_system_does_not_let_threads_be_moved_they_stay(kept_on_one_core, monkeypatch):
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with cores.everywhere():
        assert os.sched_getaffinity(0) == kept_on_one_core
    monkeypatch.undo()
