"""Joins by group commit: those that wait at the same moment share one statement and one connection.

Each caller puts a row in the backlog and waits. A writer takes what is there, commits it with one INSERT and
answers all of them; while it commits, the next batch gathers. There is no timer, so a lone join is not delayed. Of
many it takes half: were they all in one statement, the process would have nothing to do until the server has done it.
Nobody is answered before the commit, and the statement may be repeated without harm, so a batch whose connection
broke is simply written again.
"""

import asyncio
from collections import deque
from typing import NamedTuple

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from healthcheck import faults

BATCH = 500  # rows of one statement
WHOLE = 16  # joins that are taken at once; of more it is half of those under way
BACKLOG = 20_000  # rows that may wait: about what a process commits within the deadline
PATIENCE = 1.0  # seconds that the first in the queue may have waited for more to be let in behind it
BATCHES = 100  # that are written one after the other while more joins wait
PAUSE = 0.1  # seconds between two tries of a batch while the server is away

# Each column comes as one text with a line for each row, which costs a fraction of an array of texts to send; no value
# has a line's end in it. The first line is nobody's: without it, one empty text would be no line at all.
INSERT = r"""
    INSERT INTO waitlist_entry (email, normalised, source, language)
    SELECT * FROM unnest(
        (string_to_array(%b, E'\n'))[2:],
        (string_to_array(%b, E'\n'))[2:],
        (string_to_array(%b, E'\n'))[2:],
        (string_to_array(%b, E'\n'))[2:]
    )
    ON CONFLICT (normalised) DO NOTHING
"""


class Row(NamedTuple):
    """What a join writes; every text is judged by `waitlist.addresses` before it comes here."""

    email: str
    normalised: str
    source: str
    language: str


Entry = tuple[Row, asyncio.Future[None], float]  # the last: when it came, by the loop's clock


class BacklogFull(Exception):
    """More joins are waiting than can be committed in time; the caller should come back."""


class Refused(Exception):
    """The database does not take this row, whoever asks."""


class JoinWriter:
    """The writer of one process. It belongs to the event loop that starts it."""

    def __init__(self, pool: AsyncConnectionPool):
        self.pool = pool
        self._loop = asyncio.get_running_loop()
        self._backlog: deque[Entry] = deque()
        self._wakeup = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._write_all(), name="join writer")

    def join(self, row: Row) -> asyncio.Future[None]:
        """Done once the row is committed, or was there before; with `Refused` if the database does not take it.

        The caller keeps the deadline, and cancels the future when it comes.

        Raises:
            BacklogFull: too many are waiting, or for too long, or the writer is closing.
        """
        now = self._loop.time()
        if self._closing or self._is_full(now):
            raise BacklogFull
        written = self._loop.create_future()
        self._backlog.append((row, written, now))
        self._wakeup.set()
        return written

    def gauge(self) -> dict[str, int]:
        return {"backlog": len(self._backlog)}

    async def close(self) -> None:
        """Commit what is waiting, then stop; what comes later is refused.

        It ends by itself while the server is away too: callers leave at their deadline, and nobody is left. A
        server that hangs in a commit is waited for; gunicorn's `graceful_timeout` ends that.
        """
        self._closing = True
        self._wakeup.set()
        if self._task is not None:
            await self._task

    def _is_full(self, now: float) -> bool:
        """Whether too many wait, or whoever has waited longest has waited too long for more to be let in."""
        if len(self._backlog) < BATCH:
            return False
        while self._backlog and self._backlog[0][1].done():  # their callers have left
            self._backlog.popleft()
        return len(self._backlog) >= BACKLOG or (bool(self._backlog) and now - self._backlog[0][2] > PATIENCE)

    async def _write_all(self) -> None:
        while self._backlog or not self._closing:
            if batch := self._take(answered=0):
                try:
                    await self._write(batch)
                except Exception:  # noqa: BLE001  # whatever it is
                    # Its callers leave at their deadline; those that come after them must find a writer.
                    faults.logger.exception("Joins could not be written")
            else:
                self._wakeup.clear()
                if not self._closing:
                    await self._wakeup.wait()

    def _take(self, *, answered: int) -> list[Entry]:
        """`answered`: how many of the batch before are being answered now, and may come again."""
        most = min(BATCH, max(WHOLE, (len(self._backlog) + answered) // 2))
        batch: list[Entry] = []
        while self._backlog and len(batch) < most:
            entry = self._backlog.popleft()
            if not entry[1].done():  # its caller may have left at the deadline
                batch.append(entry)
        # One order for all writers, so that two processes never wait for each other's rows in a circle.
        batch.sort(key=_normalised)
        return batch

    async def _write(self, batch: list[Entry], *, alone: bool = False) -> None:
        """Try until the batch is committed or all its callers have left; then, unless `alone`, the next ones."""
        while batch := [entry for entry in batch if not entry[1].done()]:
            try:
                async with self.pool.connection(timeout=1) as connection, connection.cursor() as cursor:
                    # Given back now and then, for the pool to see how old it is.
                    for _ in range(BATCHES):
                        await cursor.execute(INSERT, _columns(batch))
                        _answer(batch, None)
                        batch = [] if alone else self._take(answered=len(batch))
                        if not batch:
                            break
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
                if fault := faults.classify(error):
                    faults.record(fault, "the joins pool", error)
                else:
                    faults.logger.error("Joins cannot be written now: %s", type(error).__name__)
                await asyncio.sleep(PAUSE)
            except psycopg.Error as error:
                await self._part(batch, error)
                batch = []

    async def _part(self, batch: list[Entry], error: psycopg.Error) -> None:
        """One row spoils the statement: written alone, it spoils nobody else's."""
        if len(batch) == 1:
            faults.logger.error("The database refused a join: %s", type(error).__name__)
            _answer(batch, Refused())
        else:
            for entry in batch:
                await self._write([entry], alone=True)


def _normalised(entry: Entry) -> str:
    return entry[0].normalised


def _columns(batch: list[Entry]) -> list[str]:
    return ["\n" + "\n".join(column) for column in zip(*[row for row, _, _ in batch], strict=True)]


def _answer(batch: list[Entry], error: Exception | None) -> None:
    for _, written, _ in batch:
        if written.done():
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
