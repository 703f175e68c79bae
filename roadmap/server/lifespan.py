"""ASGI's lifespan, which Django does not take part in."""

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


async def run(receive: Receive, send: Send, resources: AbstractAsyncContextManager[Any]) -> None:
    """Hold `resources` open from the server's start to its shutdown; a failure ends the process."""
    await receive()  # lifespan.startup
    async with resources:
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})
