"""What goes wrong with connections: each fault has one class, one counter and one line in the log."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout, TooManyRequests

from healthcheck import pools

CLASSES = (
    "pool_timeout",  # no connection became free in time
    "pool_full",  # a queue at its bound: pool, threads, joins, admission
    "connect_failed",  # the server could not be reached, or a connect was cancelled
    "server_refused",  # the server answered, and refused the connection
    "connection_lost",  # an open connection broke
    "statement_timeout",  # a statement, or its wait for a lock, took too long
    "deadline",  # the caller's deadline came first
    "client_gone",  # the caller left
)
RECENT = 60.0  # seconds for which a fault is news
LINES = 10  # in the log, for each class and second
LONGEST = 200  # letters of where something happened


@dataclass
class Lines:
    """How many lines a class had in the log since a moment, and how many it did not get."""

    since: float = float("-inf")
    written: int = 0
    unwritten: int = 0


logger = logging.getLogger("healthcheck.faults")
_lock = threading.Lock()
_counts = dict.fromkeys(CLASSES, 0)
_last: dict[str, float] = {}
_lines = {fault: Lines() for fault in CLASSES}

# libpq puts two spaces behind the severity of a message that came from a server, in every language.
_SENT_BY_SERVER = re.compile(r": [^\s:]+:  \S")
_CONNECTING = ("connection failed", "connection is bad", "connection timeout", "failed to resolve")


def record(fault: str, where: str, reason: object = "") -> None:
    """Count a fault and log it with the numbers of the pools at this moment.

    Of a class that comes more often than `LINES` times a second, the next line tells how many had none: a flood
    of refusals must not turn into a flood of writing.

    Args:
        fault: one of `CLASSES`.
        where: the pool, queue or path that it happened in.
        reason: the error, or some words; never an address with a password.
    """
    now = time.monotonic()
    with _lock:
        _counts[fault] += 1
        _last[fault] = now
        lines = _lines[fault]
        if now - lines.since >= 1:
            lines.since, lines.written = now, 0
        if lines.written >= LINES:
            lines.unwritten += 1
            return
        lines.written += 1
        unwritten, lines.unwritten = lines.unwritten, 0
    figures = "; ".join(
        f"{name} {m['used']} used, {m['idle']} idle, {m['waiting']} waiting of {m['max']}"
        for name, m in pools.measure_all().items()
    )
    # On one line, whatever a path has in it.
    place, text = " ".join(where.split())[:LONGEST], " ".join(str(reason).split()) or "-"
    more = f", and {unwritten} more before" if unwritten else ""
    level = logging.INFO if fault == "client_gone" else logging.WARNING
    logger.log(level, "%s in %s: %s%s [%s]", fault, place, text, more, figures or "no pools")


def counts() -> dict[str, int]:
    """How often each class has happened since this process started."""
    with _lock:
        return dict(_counts)


def recent() -> list[str]:
    """The classes that happened within the last `RECENT` seconds, but for clients that left."""
    since = time.monotonic() - RECENT
    with _lock:
        return [fault for fault in CLASSES if fault != "client_gone" and _last.get(fault, since) > since]


def classify(error: BaseException) -> str | None:
    """The class of an error, or None if it is no fault of a connection.

    Django wraps psycopg's errors, so the causes are looked through too.
    """
    for cause in _causes(error):
        if isinstance(cause, TooManyRequests):
            return "pool_full"
        if isinstance(cause, PoolTimeout):
            return "pool_timeout"
        if isinstance(cause, errors.QueryCanceled | errors.LockNotAvailable):
            return "statement_timeout"
        if isinstance(cause, errors.TooManyConnections):
            return "server_refused"
        if isinstance(cause, errors.ConnectionTimeout):
            return "connect_failed"
        if isinstance(cause, psycopg.OperationalError):  # a closed pool's too
            return _classify_operational(cause)
        if isinstance(cause, psycopg.InterfaceError):
            return "connection_lost"
    return None


def classify_connect(text: str) -> str:
    """The class of a failed connect by its text: a refused one carries no SQLSTATE."""
    return "server_refused" if _SENT_BY_SERVER.search(text) else "connect_failed"


def _classify_operational(error: psycopg.OperationalError) -> str | None:
    state = error.sqlstate
    if state is None:
        text = str(error)
        return classify_connect(text) if text.startswith(_CONNECTING) else "connection_lost"
    if state in ("25P03", "25P04") or state.startswith(("08", "57P")):
        return "connection_lost"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


class PoolLogHandler(logging.Handler):
    """Turns psycopg_pool's warnings into faults; nobody else hears why a pool cannot connect."""

    def emit(self, entry: logging.LogRecord) -> None:
        text = entry.getMessage()
        if entry.msg.startswith("error connecting"):
            pool_name, error = entry.args if isinstance(entry.args, tuple) else ("?", text)
            record(classify_connect(str(error)), f"the {pool_name} pool", error)
        elif entry.msg.startswith(("discarding broken", "discarding closed")):
            record("connection_lost", "a pool", text)
        else:
            logger.log(entry.levelno, "%s", text)
