"""The way of a run, as LangGraph goes it: understand → outline ⇄ check → review → write, in parallel → finish."""

import functools
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send

from roadmap.runs import nodes
from roadmap.runs.nodes import Draft, Tools

# Any, since LangGraph's types want every step to take the whole state.
STEPS: dict[str, Any] = {
    "understand": nodes.understand,
    "outline": nodes.outline,
    "check": nodes.check,
    "repair": nodes.outline,
    "review": nodes.review,
    "revise": nodes.outline,
    "write": nodes.write,
    "finish": nodes.finish,
}
MOST_STEPS = 1000  # of one job; every review adds a few


Way = CompiledStateGraph[Draft, Tools, Draft, Draft]


def way_of(saver: BaseCheckpointSaver[Any]) -> Way:
    """The graph of one run, over a saver of its own; all runs share what takes time to compile."""
    return compiled().copy({"checkpointer": saver})


@functools.cache
def compiled() -> Way:
    graph = StateGraph(Draft, context_schema=Tools)
    for name, step in STEPS.items():
        graph.add_node(name, step)
    graph.add_conditional_edges(START, entrance, ["understand", "revise", "write", "finish"])
    graph.add_conditional_edges("understand", unless_failed("outline"), ["outline", END])
    for draft in ("outline", "repair", "revise"):
        graph.add_conditional_edges(draft, unless_failed("check"), ["check", END])
    graph.add_conditional_edges("check", after_check, ["review", "repair", END])
    graph.add_conditional_edges("review", after_review, ["revise", "write", "finish"])
    graph.add_edge("write", "finish")
    graph.add_edge("finish", END)
    return graph.compile()


def entrance(draft: Draft) -> str | list[Send]:
    """From the rows: lessons to write, or an outline to change; else from the beginning."""
    if draft.get("approved"):
        return after_review(draft)
    return "revise" if draft.get("outline") and draft.get("feedback") else "understand"


def unless_failed(following: str) -> Any:
    def route(draft: Draft) -> str:
        return END if draft.get("failed") else following

    return route


def after_check(draft: Draft) -> str:
    if draft.get("failed"):
        return END
    return "repair" if draft["problems"] else "review"


def after_review(draft: Draft) -> str | list[Send]:
    if not draft.get("approved"):
        return "revise"
    brief, outline = draft["brief"], draft["outline"]
    return [
        Send("write", {"brief": brief, "outline": outline, "key": key}) for key in draft["unwritten"]
    ] or "finish"
