"""How the worker's jobs reach the database: procrastinate's connector, which goes on through outages.

Without it an outage longer than the pool's timeout ends the worker in the middle of its jobs: a heartbeat that
failed once is enough. A statement is repeated after a cut that left open whether it came through. What comes of that
is harmless: a heartbeat twice, a second worker registered that nobody waits for, a job fetched that nobody works
on, which the rescue finds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from procrastinate import PsycopgConnector

from roadmap.runs.patience import PAUSE, patiently

logger = logging.getLogger(__name__)


class PatientConnector(PsycopgConnector):
    """`patient` is True until the process ends."""

    patient = True

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        await self._patiently(super().execute_query_async, query, arguments)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        return await self._patiently(super().execute_query_one_async, query, arguments)

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        return await self._patiently(super().execute_query_all_async, query, arguments)

    async def _patiently[T](
        self, execute: Callable[..., Awaitable[T]], query: Any, arguments: dict[str, Any]
    ) -> T:
        return await patiently(
            "the jobs pool", lambda: execute(query, **arguments), still=lambda: self.patient
        )

    async def listen_notify(self, on_notification: Any, channels: Iterable[str]) -> None:
        names = list(channels)
        listen = super().listen_notify
        while True:
            try:
                await patiently("the jobs listener", lambda: listen(on_notification, names))
            except Exception:
                # Whatever it is, it may pass; meanwhile jobs are found without being told of.
                logger.exception("the jobs listener broke off; it begins again")
            await asyncio.sleep(PAUSE)
