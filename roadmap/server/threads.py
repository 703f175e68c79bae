"""The ORM threads of a web process: few, used again and again, with the queue for them on the event loop.

A thread never waits for a connection, since there are two fewer threads than connections; a caller never holds a
thread while it waits for one. The queue is kept short by the time that it takes: who would have to wait for longer
than `PATIENCE`, as far as one can tell, is refused at once, and who has waited for twice as long all the same is
refused then, so that what is answered is answered fast.
"""

import asyncio
import contextlib
import contextvars
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import psycopg
from django.db import close_old_connections, connections
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg_pool import PoolClosed

from healthcheck import faults

PATIENCE = 2.0  # seconds that a caller may have to wait
WAITING = 2_000  # callers at most
HANGS = 0.5  # seconds that the running jobs have taken on average, from which on they are looked at
WEIGHT = 0.03  # of the newest job in the average: a pause that eight of them shared must not refuse anybody
USUAL = 0.05  # seconds that a job is taken to need before any has ended
CANCEL_TIMEOUT = 2.0  # seconds that one request to cancel a query may take
CANCEL_AGAIN = 0.5  # seconds until the next, for work that goes on to another query


_job: contextvars.ContextVar["Job"] = contextvars.ContextVar("job")


class Full(Exception):
    """The queue for a thread is as long as it may be; the caller should come back."""


class Job:
    """A piece of work for one thread.

    Args:
        work: runs in the thread; what it returns or raises is the outcome of `done`.
        after: runs there afterwards with the result, when no cancel can reach the connection any more.
        must: it is not refused, however long it has waited.
    """

    def __init__(self, work: Callable[[], Any], after: Callable[[Any], None], *, must: bool):
        self.work = work
        self.after = after
        self.must = must
        self.came = time.monotonic()
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.started: float | None = None
        self.interrupted = False
        # A cancel reaches whoever has the connection by then. Holding this keeps the connection with this job.
        self._connection_is_ours = threading.Lock()
        self._wrapper: Any = None

    def run(self) -> Any:
        """In the thread: work, and give the connection back."""
        _job.set(self)
        with self._connection_is_ours:
            self._wrapper = connections["default"]
        result: Any = None
        try:
            result = self.work()
        finally:
            with self._connection_is_ours:
                self._wrapper = None
            self.after(result)
        return result

    def give_back(self) -> None:
        """In the thread, before the work has ended: no cancel must reach who has the connection next."""
        with self._connection_is_ours:
            connections["default"].close()

    def cancel_query(self) -> None:
        """Stop what the server is doing for this job; in another thread, since it asks the server.

        The connection cannot be given back meanwhile, so the cancel hits no one else's query: once it is sent,
        PostgreSQL ignores it if it comes between two queries.
        """
        with self._connection_is_ours:
            connection: psycopg.Connection[Any] | None = self._wrapper and self._wrapper.connection
            if connection is None or connection.closed:
                return
            try:
                connection.cancel_safe(timeout=CANCEL_TIMEOUT)
            except psycopg.errors.CancellationTimeout:
                # It may still arrive, whenever that is: nobody else may have this connection.
                cut(connection)
            except psycopg.OperationalError as error:
                faults.record(faults.classify(error) or "connection_lost", "a cancel", error)


def cut(connection: psycopg.Connection[Any]) -> None:
    """End a connection that another thread waits for, which hears of it.

    Closed, its descriptor would be the next connection's, and the other thread would wait for that one's data.
    """
    with (
        contextlib.suppress(OSError, psycopg.OperationalError),  # it has ended by itself
        socket.socket(fileno=os.dup(connection.fileno())) as same,
    ):
        same.shutdown(socket.SHUT_RDWR)


def give_back() -> None:
    """In a job: give its connection back while it works on; the next query takes another."""
    _job.get().give_back()


class Threads:
    """The threads of one process, for the event loop that makes it."""

    def __init__(self, size: int):
        self.size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="orm")
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._began = 0.0  # the sum of the times at which those that run have begun
        self._usual = USUAL  # seconds that a job takes, as a moving average
        self._cancels: set[asyncio.Task[None]] = set()
        self._closed = False

    def gauge(self) -> dict[str, int]:
        return {"max": self.size, "busy": len(self._running), "waiting": len(self._waiting)}

    def submit(
        self,
        work: Callable[[], Any],
        after: Callable[[Any], None] = lambda _: close_old_connections(),
        *,
        must: bool = False,
        ahead: bool = False,
    ) -> Job:
        """Give work to a thread, now or when one is free; `job.done` has the outcome, `Full` among them.

        Args:
            must: never refuse, because the caller has been answered in part already.
            ahead: before all that wait.

        Raises:
            Full: it would have to wait too long.
            PoolClosed: the process ends.
        """
        if self._closed:
            raise PoolClosed("the process ends, and its threads take no more work")
        if not must and self.are_full():
            raise Full
        job = Job(work, after, must=must)
        if len(self._running) < self.size:
            self._start(job)
        elif ahead:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)
        return job

    async def do[T](self, work: Callable[[], T], *, must: bool = False, ahead: bool = False) -> T:
        """The outcome of work in a thread; if the caller is cancelled, it is left as `leave` has it.

        Raises:
            Full: there is no thread in time.
            PoolClosed: the process ends.
        """
        job = self.submit(work, must=must, ahead=ahead)
        try:
            await asyncio.wait({job.done})
        except asyncio.CancelledError:
            job.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else looks
            self.leave(job)
            raise
        outcome: T = job.done.result()
        return outcome

    def are_full(self) -> bool:
        """Whether a job that comes now would have to wait too long."""
        return len(self._running) >= self.size and (
            len(self._waiting) >= WAITING or self._expected_wait() > PATIENCE
        )

    def leave(self, job: Job) -> None:
        """Nobody waits for this job any more: take it out of the queue, or stop its query."""
        if job.started is None:
            if job in self._waiting:
                self._waiting.remove(job)
            job.done.cancel()
        elif job in self._running and not job.interrupted:
            job.interrupted = True
            task = self._loop.create_task(self._interrupt(job))
            self._cancels.add(task)
            task.add_done_callback(self._cancels.discard)

    async def close(self) -> None:
        """Stop what asks the server and wait for all that runs; what waits for a thread or a connection gets none."""
        self._closed = True
        for job in [*self._waiting]:
            self.leave(job)
        # Not `close_pool`: the next thread would make itself a new one, and wait for that.
        if pool := cast(DatabaseWrapper, connections["default"]).pool:
            await asyncio.to_thread(pool.close)
        for job in [*self._running]:
            self.leave(job)
        await asyncio.to_thread(self._executor.shutdown)

    def _expected_wait(self) -> float:
        """Seconds until a job that comes now has a thread, if things go on as they do."""
        # While every thread hangs nothing ends, and the average tells of better times. A moment's pause is no hanging.
        age = time.monotonic() - self._began / self.size
        if age < HANGS:
            age = 0.0
        return (len(self._waiting) + 1) * max(self._usual, age) / self.size

    def _start(self, job: Job) -> None:
        job.started = time.monotonic()
        self._running.add(job)
        self._began += job.started
        # A context of its own: what a job sets, such as the language, stays with it.
        context = contextvars.Context()
        self._executor.submit(context.run, self._run, job)

    def _run(self, job: Job) -> None:
        """In the thread."""
        result: Any = None
        error: BaseException | None = None
        try:
            result = job.run()
        except BaseException as raised:  # noqa: BLE001  # handed to whoever waits for it
            error = raised
        self._loop.call_soon_threadsafe(self._ended, job, result, error)

    def _ended(self, job: Job, result: Any, error: BaseException | None) -> None:
        self._running.discard(job)
        self._began = self._began - job.started if self._running and job.started else 0.0
        took = time.monotonic() - (job.started or 0.0)
        self._usual += WEIGHT * (took - self._usual)
        self._start_next()
        if job.done.done():
            return
        if error is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(error)

    def _start_next(self) -> None:
        longest = time.monotonic() - 2 * PATIENCE
        while self._waiting:
            job = self._waiting.popleft()
            if job.came > longest or job.must:
                self._start(job)
                return
            if not job.done.done():
                job.done.set_exception(Full())

    async def _interrupt(self, job: Job) -> None:
        """Stop this job's query, and the next one if it goes on to another."""
        while job in self._running:
            await asyncio.to_thread(job.cancel_query)
            await asyncio.wait([job.done], timeout=CANCEL_AGAIN)
