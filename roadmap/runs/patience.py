"""Going on through faults of connections: a cut costs a retry, an outage of any length a wait."""

import asyncio
from collections.abc import Awaitable, Callable

from healthcheck import faults

PAUSE = 0.5  # seconds between two tries


async def patiently[T](
    where: str, work: Callable[[], Awaitable[T]], still: Callable[[], bool] = lambda: True
) -> T:
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
            if fault is None or not still():
                raise
            faults.record(fault, where, error)
        await asyncio.sleep(PAUSE)
