"""Near limit: group commit on one asyncpg connection, and no checks at all."""

import asyncio
import json
import os
from typing import Any

import asyncpg

INSERT = """
    INSERT INTO waitlist_entry (email, normalised, source, language)
    SELECT email, email, '', 'en' FROM unnest($1::text[]) AS email
    ON CONFLICT (normalised) DO NOTHING
"""
START = {
    "type": "http.response.start",
    "status": 202,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"16")],
}
BODY = {"type": "http.response.body", "body": b'{"success":true}'}
waiting: list[tuple[str, asyncio.Future[None]]] = []
arrived = asyncio.Event()


async def write_all() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    insert = await connection.prepare(INSERT)
    while True:
        await arrived.wait()
        arrived.clear()
        batch = waiting[:]
        waiting.clear()
        await insert.fetch([email for email, _ in batch])
        for _, written in batch:
            if not written.done():
                written.set_result(None)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["writer"] = asyncio.create_task(write_all())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    body = (await receive())["body"]
    written = asyncio.get_running_loop().create_future()
    waiting.append((json.loads(body)["email"], written))
    arrived.set()
    await written
    await send(START)
    await send(BODY)
