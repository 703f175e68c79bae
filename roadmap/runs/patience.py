"""Going on through faults of connections: a cut costs a retry, an outage of any length a wait.

So does a transaction that the server ended in favour of another, a deadlock or a conflict, and one that it would not
begin, since another server takes its place.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from psycopg import errors

from healthcheck import faults

PAUSE = 0.5  # seconds between two tries

logger = logging.getLogger(__name__)


Still = Callable[[], bool]  # whether to be patient; no longer, once the process ends


def always() -> bool:
    return True


async def patiently[T](where: str, work: Callable[[], Awaitable[T]], still: Still = always) -> T:
    """What `work` returns, once it gets through; it is repeated, so it must do no harm done twice.

    Args:
        where: the pool or the work, for the log.
        still: whether to go on after a fault; else it is raised.
    """
    while True:
        try:
            return await work()
        except Exception as error:
            fault = faults.classify(error)
            if not still() or (fault is None and not gave_way(error)):
                raise
            if fault:
                faults.record(fault, where, error)
            else:
                logger.warning("%s is repeated: %s", where, error)
        await asyncio.sleep(PAUSE)


def gave_way(error: Exception) -> bool:
    """Whether the server ended a transaction in favour of another, or itself gives way to another server.

    Neither is a fault of the connection.
    """
    wanted = errors.DeadlockDetected | errors.SerializationFailure | errors.ReadOnlySqlTransaction
    return isinstance(error, wanted) or isinstance(
        error.__cause__, wanted
    )  # as it is, or in Django's or procrastinate's
