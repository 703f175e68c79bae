"""One core for all threads of a process while it is busy (Linux; elsewhere they are left alone).

Only one of them runs Python at a time. On several cores they hand Python's lock from core to core, thousands of times a
second, and each time the next one has to be woken there first: without this, a fifth fewer pages are answered, and a
third fewer while others are refused; and a busy worker leaves the other cores to the web. The kernel chooses the core:
every second the threads are let go for a moment, and then kept where it has put the event loop. What needs no lock may
leave: `everywhere`. An event loop that works alone, as joins have it, stays free: nobody else wants the lock, and one
core it would share with the database while others are idle.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BUSY = 0.3  # of a core; with less to do, the threads seldom want the lock at the same time
BESIDE = 0.1  # of a core, that the threads beside the event loop use of it
LET_GO = 0.02  # seconds in which the kernel may choose

ALL: set[int] = os.sched_getaffinity(0) if sys.platform == "linux" else set()
PROCESSOR = 36  # in a thread's `stat`, of what is behind its name: the core that it ran on last; see proc(5)


class Together:
    """Keeps the threads of this process together, on one core of those that it was started with."""

    def __init__(self) -> None:
        self._gathered = False
        self._looked = time.monotonic()
        self._used = time.process_time()
        self._used_beside = self._used - time.thread_time()

    def look(self) -> None:
        """To be called about every second, by the event loop."""
        now, used = time.monotonic(), time.process_time()
        beside, seconds = used - time.thread_time(), now - self._looked
        busy = used - self._used >= BUSY * seconds and beside - self._used_beside >= BESIDE * seconds
        self._looked, self._used, self._used_beside = now, used, beside
        if self._gathered:
            # Without a descriptor left for the list, the next look tries again.
            with contextlib.suppress(OSError):
                _keep_all_on(ALL)
                self._gathered = False
        if busy and len(ALL) > 1:
            asyncio.get_running_loop().call_later(LET_GO, self._gather)

    def _gather(self) -> None:
        with contextlib.suppress(OSError):  # the same; then they go where they like
            stat = Path("/proc/thread-self/stat").read_bytes()
            self._gathered = True
            _keep_all_on({int(stat.rpartition(b")")[2].split()[PROCESSOR])})


@contextlib.contextmanager
def everywhere() -> Iterator[None]:
    """Let this thread use every core."""
    before = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
    _keep_on(0, ALL)
    try:
        yield
    finally:
        _keep_on(0, before)


def _keep_all_on(cores: set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        _keep_on(int(thread.name), cores)


def _keep_on(thread: int, cores: set[int]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # it has ended, or the system forbids it and it stays where it is
            os.sched_setaffinity(thread, cores)
