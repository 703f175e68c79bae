"""The saver of one run: fenced by the run's attempt, and patient with connections.

What this leans on of the saver's insides: every write goes through `_cursor(pipeline=True)`, of which it wants
`execute()` and `executemany()` and no answer, and the statements of one pipeline on a connection with autocommit are
one transaction. `tests/roadmap/runs/test_saver.py` fails when a new version changes it.
"""

import contextlib
import functools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncCursor
from psycopg.abc import Params, QueryNoTemplate
from psycopg.errors import DivisionByZero, InterfaceError, OperationalError
from psycopg.rows import DictRow

from roadmap.checkpointer import Pool
from roadmap.runs.events import Fenced
from roadmap.runs.patience import Still, always, patiently

# An error, and with it nothing of the pipeline, for who is no longer at work; no answer need be waited for, so that
# nobody holds the row's lock across a round trip.
FENCE = "SELECT 1 / coalesce((SELECT 1 FROM roadmap_roadmap WHERE id = %s AND attempt = %s FOR SHARE), 0)"


class Later:
    """Stands for a cursor, and keeps the statements that it is given until there is one."""

    def __init__(self) -> None:
        self._statements: list[Callable[[AsyncCursor[DictRow]], Awaitable[object]]] = []

    async def execute(self, query: QueryNoTemplate, parameters: Params) -> None:
        self._statements.append(lambda cursor: cursor.execute(query, parameters))

    async def executemany(self, query: QueryNoTemplate, rows: Iterable[Params]) -> None:
        self._statements.append(lambda cursor: cursor.executemany(query, rows))

    async def repeat(self, cursor: AsyncCursor[DictRow]) -> None:
        for statement in self._statements:
            await statement(cursor)


class RunSaver(AsyncPostgresSaver):
    """Costs nothing to make: its lock, one for all that it does, is then this run's alone."""

    def __init__(self, pool: Pool, roadmap_id: uuid.UUID, attempt: int, still: Still = always):
        super().__init__(pool)
        self.still = still
        self.pool = pool
        self.fence = (roadmap_id, attempt)

    @contextlib.asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        """Raises Fenced: another job has the run, and nothing was written."""
        later = Later()
        if pipeline:
            # The saver waits for a thread in here, and no connection is held meanwhile.
            yield cast(AsyncCursor[DictRow], later)
        try:
            async with super()._cursor(pipeline=pipeline) as cursor:
                if pipeline:
                    await cursor.execute(FENCE, self.fence)
                    await later.repeat(cursor)
                else:
                    yield cursor
        except DivisionByZero:
            raise Fenced from None
        except (OperationalError, InterfaceError):
            # Not every connection is checked before it is used; where one is broken, others may be.
            await self.pool.check()
            raise

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._patiently(functools.partial(super().aget_tuple, config))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put = functools.partial(super().aput, config, checkpoint, metadata, new_versions)
        return await self._patiently(put)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        put = functools.partial(super().aput_writes, config, writes, task_id, task_path)
        await self._patiently(put)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._patiently(functools.partial(super().adelete_thread, thread_id))

    async def _patiently[T](self, work: Callable[[], Awaitable[T]]) -> T:
        return await patiently("a checkpoint", work, self.still)
