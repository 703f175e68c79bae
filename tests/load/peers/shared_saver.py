"""Shared saver, as LangGraph's own examples have it: one `AsyncPostgresSaver` for all runs, over the same pool."""

from collections.abc import Callable

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from roadmap.checkpointer import Pool
from roadmap.models import Roadmap


def savers(pool: Pool) -> Callable[[Roadmap], AsyncPostgresSaver]:
    shared = AsyncPostgresSaver(pool)
    return lambda roadmap: shared
