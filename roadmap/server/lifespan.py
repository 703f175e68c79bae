"""ASGI's lifespan, which Django does not take part in."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from healthcheck.asgi import Receive, Send


async def run(receive: Receive, send: Send, resources: AbstractAsyncContextManager[Any]) -> None:
    """Hold `resources` open from the server's start to its shutdown; a failure ends the process."""
    await receive()  # lifespan.startup
    async with resources:
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})
