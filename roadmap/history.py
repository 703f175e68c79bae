"""A run's checkpoints, step by step, for staff: read through the web's own checkpointer pool."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg_pool import PoolTimeout

from roadmap import checkpointer
from roadmap.server import threads

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

MOST = 200  # steps, the newest
SECONDS = 3.0  # that they may take to read, which is less than a page has
LETTERS = 2000  # of a value


@dataclass(frozen=True)
class Step:
    """One checkpoint.

    Attributes:
        values: what the run knew, by name, as JSON.
        writes: what the tasks of the next step had written when the run was last there; interrupts and errors too.
    """

    number: int
    source: str
    at: datetime
    checkpoint_id: str
    values: list[tuple[str, str]]
    writes: list[tuple[str, str]]


class Unreadable(Exception):
    """The checkpoints could not be had; the text says why."""


def steps(thread_id: str) -> list[Step]:
    """The checkpoints of one LangGraph thread, the oldest first.

    Raises:
        Unreadable: no pool, no connection, or no answer in time.
    """

    async def read(saver: AsyncPostgresSaver) -> list[CheckpointTuple]:
        config: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        return [found async for found in saver.alist(config, limit=MOST)]

    try:
        checkpointer.pool()
        # This thread waits for another connection than its own: give that one back meanwhile.
        threads.give_back()
        found = checkpointer.ask(read, SECONDS)
    except (checkpointer.NotOpen, TimeoutError, PoolTimeout, psycopg.Error) as error:
        raise Unreadable(str(error) or f"There was no answer within {SECONDS:g} seconds.") from None
    # In this thread: 200 steps as JSON would hold up the event loop.
    return [as_step(one) for one in reversed(found)]


def as_step(found: CheckpointTuple) -> Step:
    values: dict[str, Any] = found.checkpoint["channel_values"]
    return Step(
        number=found.metadata.get("step", 0),
        source=found.metadata.get("source", ""),
        at=datetime.fromisoformat(found.checkpoint["ts"]),
        checkpoint_id=found.checkpoint["id"],
        values=[(name, as_text(value)) for name, value in sorted(values.items())],
        writes=[(channel, as_text(value)) for _task, channel, value in found.pending_writes or []],
    )


def as_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    return text if len(text) <= LETTERS else f"{text[:LETTERS]} … ({len(text)} characters)"
