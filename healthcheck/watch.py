"""The watch: one connection of each process, in no pool, that knows how the server is.

It asks once a second. Readiness is the age of the last answer, so a server that hangs needs no time limit here,
and however many ask for readiness, the server is asked once. When the server goes or returns, the watch has every
pool look at its idle connections at once, instead of leaving it to their back-off.

It also listens, for whoever subscribes to a channel: however many want to hear, one connection does.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import psycopg
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from psycopg import AsyncConnection, sql

from healthcheck import faults, pools
from healthcheck.activity import LIVE, SERVER, Live, Server
from healthcheck.connecting import connection_kwargs

PING = 1.0  # seconds between two questions
FRESH = 2.5  # seconds for which an answer counts
GONE = 5.0  # seconds without one after which it is not this connection alone; a cut one is back long before
RETRY = 0.5  # seconds between two connects
CONNECT_TIMEOUT = 5  # seconds; the plan's own is too long for a process that wants to be ready

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What the server said last: its limits, and the connections open on all of it."""

    server: Server
    connections: int


class Watch:
    """Runs in the event loop of one process, from `run()` until it is cancelled."""

    def __init__(self, expected: frozenset[str]):
        """`expected`: the names of the pools without which this process is not ready."""
        self.expected = expected
        self.look: Look | None = None
        self.reason = "starting"  # why there is no fresh answer
        self.missing_migrations: int | None = None
        self._answered = float("-inf")
        self._lost = False
        self._healing: dict[str, asyncio.Task[None]] = {}
        self._known_migrations = set(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)

    @property
    def answers(self) -> bool:
        return not self._lost and time.monotonic() - self._answered < FRESH

    @property
    def server_is_gone(self) -> bool:
        """Whether the server has been silent for `GONE` seconds: it hangs, or is not there.

        Not while it answers, and only refuses this connection: those that are open may go on.
        """
        silent = time.monotonic() - self._answered > GONE
        return silent and self._why_silent() in ("connect_failed", "connection_lost")

    def _why_silent(self) -> str:
        """The class of why there is no fresh answer; a statement without an end is a loss that nobody told us of."""
        return self.reason if self._lost or self.look is None else "connection_lost"

    def not_ready(self) -> str | None:
        """The class of the reason why this process should get no requests yet, or None."""
        if not self.answers:
            return self._why_silent()
        if self.missing_migrations != 0:
            return "migrations_missing"
        if self.expected - {pool.name for pool in pools.announced()}:
            return "pools_closed"
        return None

    async def run(self) -> None:
        """Ask until cancelled; an outage of any length ends in a new connection."""
        while True:
            try:
                await self._run_until_lost()
            except Exception:
                # A mistake, ours or of a driver: with the watch gone, the process would never be ready again.
                logger.exception("The watch stumbled, and starts over")
            await asyncio.sleep(RETRY)

    async def _run_until_lost(self) -> None:
        try:
            kwargs = connection_kwargs("watch", autocommit=True, connect_timeout=CONNECT_TIMEOUT)
            async with await AsyncConnection.connect(**kwargs) as connection:
                self.missing_migrations = None
                listening: set[str] = set()
                while True:
                    await self._ask(connection)
                    await self._listen(connection, listening)
                    async for heard in connection.notifies(timeout=PING):
                        _tell(heard.channel, heard.payload)
        except psycopg.Error as error:
            self._note_loss(error)

    async def _ask(self, connection: AsyncConnection) -> None:
        first = self.look is None
        server = Server.of(await (await connection.execute(SERVER)).fetchall())
        live = Live.of(await (await connection.execute(LIVE)).fetchall())
        self.look = Look(server, live.total)
        if self.missing_migrations != 0:
            self.missing_migrations = await self._count_missing(connection)
        self._answered = time.monotonic()
        if first:
            logger.info("%s; the server allows %d", describe(), server.limit)
        if self._lost:
            self._lost = False
            self._heal()

    async def _listen(self, connection: AsyncConnection, listening: set[str]) -> None:
        """Listen to what this connection does not listen to yet; what was announced before is lost."""
        for channel in [*_subscribers]:
            if channel not in listening:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                listening.add(channel)
                _tell(channel, None)

    async def _count_missing(self, connection: AsyncConnection) -> int:
        try:
            rows = await (await connection.execute("SELECT app, name FROM django_migrations")).fetchall()
        except psycopg.errors.UndefinedTable:
            rows = []
        return len(self._known_migrations - set(rows))

    def _note_loss(self, error: psycopg.Error) -> None:
        first = self.look is None and self.reason == "starting"
        self.reason = _count(error, "the watch") or "connection_lost"
        if first:
            logger.warning("%s; the server could not be asked what it allows", describe())
        if not self._lost:
            self._lost = True
            self._heal()

    def _heal(self) -> None:
        """Have every pool drop its dead connections and open new ones; not twice at a time."""
        for pool in pools.announced():
            running = self._healing.get(pool.name)
            check = getattr(pool, "check", None)
            if check is not None and (running is None or running.done()):
                self._healing[pool.name] = asyncio.create_task(_check(pool.name, check))


async def _check(name: str, check: object) -> None:
    try:
        if asyncio.iscoroutinefunction(check):
            await check()
        else:
            await asyncio.to_thread(check)  # type: ignore[arg-type]
    except psycopg.Error as error:
        _count(error, f"the {name} pool")


def _count(error: psycopg.Error, where: str) -> str | None:
    """The class of the fault, counted; None for what is no fault of a connection, such as a full disk."""
    fault = faults.classify(error)
    if fault is None:
        logger.error("A statement of %s failed: %s", where, error)
    else:
        faults.record(fault, where, error)
    return fault


def describe() -> str:
    """This process's connections in a line, and the sum that they belong to."""
    plan = settings.CONNECTION_PLAN
    role = plan.role(settings.PROCESS_ROLE)
    return f"{role.describe()}: {role.per_process} of this service's {plan.steady}"


Subscriber = Callable[[str | None], None]

_current: Watch | None = None
_subscribers: dict[str, Subscriber] = {}


def subscribe(channel: str, tell: Subscriber) -> None:
    """Have `tell` called in the event loop with the payload of each notification of a channel.

    It is called with None when some may have been missed: at first, and after each loss of the connection.
    """
    _subscribers[channel] = tell


def unsubscribe(channel: str) -> None:
    _subscribers.pop(channel, None)


def _tell(channel: str, payload: str | None) -> None:
    """A subscriber's mistake is its own: the others hear on, and the watch goes on."""
    tell = _subscribers.get(channel)
    if tell is None:
        return
    try:
        tell(payload)
    except Exception:
        logger.exception("The subscriber of %s failed", channel)


def current() -> Watch | None:
    """The watch of this process, if it is running."""
    return _current


@contextlib.asynccontextmanager
async def watching(expected: frozenset[str]) -> AsyncIterator[Watch]:
    """Run the watch of this process for as long as the block."""
    global _current
    watch = Watch(expected)
    task = asyncio.create_task(watch.run(), name="watch")
    _current = watch
    try:
        yield watch
    finally:
        _current = None
        task.cancel()
        await _ended(task)


async def _ended(task: Awaitable[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await task
