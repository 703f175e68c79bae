"""Framework peer: django-bolt on its own server, with a bare asyncpg pool of 20 and one INSERT.

`DJANGO_SETTINGS_MODULE=tests.load.peers.bolt python -m django runbolt`: this module is its settings too.
"""

import asyncio
import os
from typing import Any

import asyncpg
import msgspec
from django_bolt import BoltAPI

from tests.load.peers import ANSWER, INSERT

SECRET_KEY = "for the load tests only"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_bolt"]
BOLT_API = ["tests.load.peers.bolt:api"]

api = BoltAPI(enable_logging=False)
opening = asyncio.Lock()
pool: asyncpg.Pool | None = None


class Join(msgspec.Struct):
    email: str
    source: str = ""


async def opened() -> asyncpg.Pool:
    """The pool, made by the first request: requests have another loop than the lifespan here."""
    global pool
    async with opening:
        if pool is None:
            pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20)
    return pool


@api.post("/api/v1/waitlist", status_code=202)
async def join(data: Join) -> dict[str, Any]:
    await (pool or await opened()).execute(INSERT, data.email)
    return ANSWER
