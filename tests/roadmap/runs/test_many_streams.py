"""Thousands of streams on one process: one connection for all, little memory for each, nothing left when they go."""

import asyncio
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import run
from tests.roadmap.runs.sse import Reader
from tests.service import connections_by_name, wait_until

pytestmark = pytest.mark.alone

STREAMS = 2_000  # `make load` opens 5,000
ROADMAPS = 50
EVENTS = 5  # of each roadmap, while all are watched
AT_ONCE = 100  # opened at once
MOST_MEMORY = 64 * 1024  # bytes for each
DEADLINE = 5.0  # seconds; PAGE_DEADLINE
ALL_IN = 30.0  # seconds until who was refused has come back, perhaps twice
LATE = 1.0  # seconds for the last of a hundred readers who share two cores with the server


@pytest.fixture(autouse=True)
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * STREAMS:
        pytest.skip(f"this process may open {hard} files, and {2 * STREAMS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid: int) -> int:
    """Bytes that are the process's own."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = [line.split()[1] for line in rollup.splitlines() if line.startswith("Private_")]
    return sum(map(int, private)) * 1024


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_thousands_of_streams_share_one_connection_and_leave_nothing(start, desk, database):
    web = start("web", database)
    people = [f"reader-{number}" for number in range(ROADMAPS)]
    roadmaps = [desk.start(goal="a goal", person=person) for person in people]
    tokens = [desk.token(person) for person in people]
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled")
    (pid,) = web.worker_pids()

    async def watch() -> tuple[int, list[float], dict[str, int]]:
        places = asyncio.Semaphore(AT_ONCE)
        theirs = [*zip(roadmaps, tokens, strict=True)]
        readers = [Reader(web.url, *theirs[number % ROADMAPS]) for number in range(STREAMS)]

        async def open_one(reader: Reader) -> None:
            async with places:
                await reader.__aenter__()
                assert reader.status == 200
                await reader.read(until=1)

        await asyncio.gather(*(open_one(reader) for reader in readers))
        assert (await asyncio.to_thread(web.health))["streams"] == {"open": STREAMS, "roadmaps": ROADMAPS}
        used = await asyncio.to_thread(memory, pid)
        reading = asyncio.gather(*(reader.read(until=1 + EVENTS) for reader in readers))
        for roadmap_id in roadmaps:
            await asyncio.to_thread(desk.record, roadmap_id, EVENTS)
        await reading
        open_now = connections_by_name(database.superuser_url, database.name)
        health = await asyncio.to_thread(web.health)
        assert health["pools"]["orm"]["used"] == 0, "a stream that waits holds no connection"
        assert health["threads"]["busy"] == 0
        assert all(reader.numbers == list(range(1, 2 + EVENTS)) for reader in readers)
        late = sorted(seen.at - seen.data["at"] for reader in readers for seen in reader.seen[1:])
        for reader in readers:
            await reader.__aexit__()
        return used, late, open_now

    before, files_before = memory(pid), files(pid)
    used, late, open_now = run(asyncio.wait_for(watch(), 120))
    per_stream = (used - before) / STREAMS
    p99 = late[len(late) * 99 // 100]
    print(f"{per_stream / 1024:.1f} KiB for each stream, p99 {p99 * 1000:.0f} ms")
    assert open_now["roadmap_agent/web/watch"] == 1
    assert set(open_now) - {"roadmap_agent/command"} <= {
        "roadmap_agent/web/watch",
        "roadmap_agent/web/orm",
        "roadmap_agent/web/joins",
    }
    assert per_stream < MOST_MEMORY
    assert p99 < LATE
    gone = {"open": 0, "roadmaps": 0}
    wait_until(lambda: web.health()["streams"] == gone, 10, "the server knows that they are gone")
    wait_until(lambda: files(pid) <= files_before + 5, 10, "their sockets are closed")
    assert web.health()["faults"]["pool_timeout"] == 0


def test_thousands_who_come_back_at_once_are_answered_by_the_deadline_and_soon_all_in(start, desk, database):
    web = start("web", database)
    people = [f"reader-{number}" for number in range(ROADMAPS)]
    theirs = [(desk.start(goal="a goal", person=person), desk.token(person)) for person in people]
    answered: list[float] = []
    refused = 0

    async def come_back(number: int) -> Reader:
        nonlocal refused
        while True:
            reader = Reader(web.url, *theirs[number % ROADMAPS])
            asked = time.monotonic()
            await reader.__aenter__()
            answered.append(time.monotonic() - asked)
            if reader.status == 200:
                return reader
            assert reader.status == 503
            assert "retry-after: 1\r\n" in reader.headers
            refused += 1
            await reader.__aexit__()
            await asyncio.sleep(random.uniform(1, 4))  # as our page does

    async def come_back_at_once() -> float:
        began = time.monotonic()
        readers = await asyncio.gather(*(come_back(number) for number in range(STREAMS)))
        took = time.monotonic() - began
        for reader in readers:
            await reader.__aexit__()
        return took

    took = run(asyncio.wait_for(come_back_at_once(), 120))
    print(f"all in after {took:.1f} s, {refused} refused meanwhile, the slowest answer {max(answered):.1f} s")
    assert max(answered) < DEADLINE + 2 * LATE  # as seen from a program that has to read all of them
    assert web.health()["faults"]["deadline"] == refused
    assert took < ALL_IN
