"""Framework peer: FastAPI with a bare asyncpg pool of 20 and one INSERT."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

from tests.load.peers import ANSWER, INSERT


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=20, max_size=20) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


class Join(BaseModel):
    email: str
    source: str = ""


@app.post("/api/v1/waitlist", status_code=202)
async def join(join: Join) -> dict[str, Any]:
    await app.state.pool.execute(INSERT, join.email)
    return ANSWER
