"""Framework peer: Litestar with a bare asyncpg pool of 20 and one INSERT."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
from litestar import Litestar, post

from tests.load.peers import ANSWER, INSERT


@contextlib.asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20) as app.state.pool:
        yield


class Join(msgspec.Struct):
    email: str
    source: str = ""


@post("/api/v1/waitlist", status_code=202)
async def join(data: Join) -> dict[str, Any]:
    await app.state.pool.execute(INSERT, data.email)
    return ANSWER


app = Litestar([join], lifespan=[lifespan], openapi_config=None)
