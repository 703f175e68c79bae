"""One job's work on one roadmap: take it, let its graph go on from where it is, and record every step.

A step is in its checkpoint first or in the rows first; whichever a crash has lost is made up for from the other:
steps are recorded so that a repetition changes nothing, and at the end the rows are filled from the graph's state.
"""

import contextlib
import functools
import logging
import uuid
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from roadmap import checkpointer
from roadmap.models import State
from roadmap.runs import events, graph
from roadmap.runs.authors import current_author
from roadmap.runs.authors.base import Author
from roadmap.runs.events import Fenced, Taken
from roadmap.runs.nodes import Draft, Tools
from roadmap.runs.patience import Still, patiently
from roadmap.runs.saver import RunSaver
from roadmap.server.threads import Threads

DRAFTING = ("understand", "outline", "check", "repair", "revise")
OUR_FAULT = "Something went wrong on our side; please try again."

logger = logging.getLogger(__name__)


async def work(roadmap_id: uuid.UUID, threads: Threads, still: Still) -> None:
    """Work on a roadmap until it has ended or waits for its review; quietly not, if another has it.

    Once it is not `still` to be patient, a fault of a connection is raised, and another worker goes on.
    """
    author = current_author()
    rows = Rows(threads, still)
    taken = await rows.do(events.take, roadmap_id, author.name)
    if taken is None:
        return
    run = Run(taken, author, rows)
    try:
        try:
            await patiently("a run", run.go_on, still)
        except Fenced:
            raise
        except Exception:
            if not still():
                raise
            logger.exception("the run of roadmap %s failed", roadmap_id)
            await run.record(events.ended, OUR_FAULT)
    except Fenced:
        logger.info("roadmap %s is no longer this job's, which was attempt %d", roadmap_id, taken.attempt)


class Rows:
    """The way to the rows: a thread and its connection for each piece of work, and none in between."""

    def __init__(self, threads: Threads, still: Still):
        self.threads = threads
        self.still = still

    async def do[T](self, work: Callable[..., T], *arguments: Any) -> T:
        async def once() -> T:
            return await self.threads.do(functools.partial(work, *arguments), must=True)

        return await patiently("a run", once, self.still)


class Run:
    """One attempt."""

    def __init__(self, taken: Taken, author: Author, rows: Rows):
        self.taken = taken
        self.rows = rows
        self.tools = Tools(author, taken.written)
        self.saver = RunSaver(checkpointer.pool(), taken.id, taken.attempt, rows.still)
        self.config: RunnableConfig = {
            "configurable": {"thread_id": taken.thread_id},
            "recursion_limit": graph.MOST_STEPS,
        }

    async def record(self, write: Callable[..., None], *arguments: Any) -> None:
        """Raises Fenced: another job has the roadmap."""
        await self.rows.do(write, self.taken.id, self.taken.attempt, *arguments)

    async def go_on(self) -> None:
        way = graph.way_of(self.saver)
        snapshot = await way.aget_state(self.config)
        # Tasks, also where all of them are done: the step that they are of is not, while its checkpoint is missing.
        if snapshot.tasks or not snapshot.values:
            await self.step(way, snapshot)
            snapshot = await way.aget_state(self.config)
        await self.settle(snapshot)

    async def step(self, way: graph.Way, at: StateSnapshot) -> None:
        """Go on until the graph ends or waits."""
        start: Any = None  # from the last checkpoint
        if not at.values:
            start = self.from_rows()
        elif at.interrupts:
            decision = self.decision(at.values)
            if decision is None:
                return  # it waits, and only the rows do not tell yet
            start = Command(resume=decision)
        steps = way.astream(start, self.config, context=self.tools, stream_mode="updates", durability="sync")
        async with contextlib.aclosing(steps):  # type: ignore[type-var]  # it is an async generator
            async for update in steps:
                for node, change in update.items():
                    if node != "__interrupt__":  # it waits, as its last checkpoint tells
                        await self.note(node, change or {})

    def decision(self, draft: dict[str, Any]) -> dict[str, str] | None:
        """What a person has said to the outline that the graph waits with; None if nothing.

        The rows tell, and whether the graph has heard it is in its checkpoint: nothing in between can be lost.
        """
        if self.taken.state == State.WRITING:
            return {"decision": "approve"}
        heard = len(draft.get("feedback", []))
        unheard = self.taken.feedback[heard:]
        return {"decision": "revise", "feedback": unheard[0]} if unheard else None

    def from_rows(self) -> Draft:
        """Where a fresh thread starts: of a new roadmap, a retry, or a run whose checkpoints are gone."""
        taken = self.taken
        draft: Draft = {"brief": taken.brief, "outline": taken.outline, "feedback": taken.feedback}
        if taken.outline is not None and taken.state == State.WRITING:
            keys = [concept["key"] for stage in taken.outline["stages"] for concept in stage["concepts"]]
            draft["approved"] = True
            draft["unwritten"] = [key for key in keys if key not in taken.written]
        return draft

    async def note(self, node: str, change: dict[str, Any]) -> None:
        """Record what a step has brought, while the graph waits for it."""
        tokens = change.get("tokens", {})
        if any(tokens.values()):
            await self.record(events.spent, tokens["in"], tokens["out"])
        if node in DRAFTING:
            await self.record(events.stepped, node)
        elif node == "write":
            await self.record_lessons(change)

    async def record_lessons(self, draft: dict[str, Any]) -> None:
        for key, lesson in (draft.get("lessons") or {}).items():
            await self.record(events.written, key, lesson)
        for key, reason in (draft.get("gaps") or {}).items():
            await self.record(events.left_out, key, reason)

    async def settle(self, snapshot: StateSnapshot) -> None:
        """Bring the rows to where the graph is."""
        draft = snapshot.values
        if snapshot.interrupts:
            await self.record(events.drafted, draft["outline"])
        elif draft.get("failed"):
            await self.record(events.ended, draft["failed"])
        else:
            await self.record_lessons(draft)
            await self.record(events.ended)
            await self.saver.adelete_thread(self.taken.thread_id)
