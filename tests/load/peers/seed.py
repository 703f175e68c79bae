"""Seed stack, what this service replaces: FastAPI, SQLAlchemy async and asyncpg; SELECT, INSERT, COMMIT."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.load.peers import ANSWER

engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://", 1),
    pool_size=40,
    max_overflow=60,
    pool_timeout=60,
    pool_recycle=1800,
    pool_use_lifo=True,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    pass


class Entry(Base):
    __tablename__ = "waitlist_entry"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    normalised: Mapped[str] = mapped_column(String(254), unique=True)
    source: Mapped[str] = mapped_column(String(64))
    language: Mapped[str] = mapped_column(String(16))


class Join(BaseModel):
    email: str
    source: str = ""


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


@app.post("/api/v1/waitlist", status_code=202)
async def join(join: Join, session: Annotated[AsyncSession, Depends(session)]) -> dict[str, Any]:
    found = await session.execute(select(Entry).where(Entry.normalised == join.email))
    if found.scalar_one_or_none() is None:
        session.add(Entry(email=join.email, normalised=join.email, source=join.source, language="en"))
        try:
            await session.commit()
        except IntegrityError:
            await session.rollback()
    return ANSWER
