"""LangGraph takes most of a second to load: the worker has done so before its first run, the web never does."""

from pathlib import Path


def has_langgraph(pid: int) -> bool:
    """By the compiled library that its checkpoints are written with."""
    return "ormsgpack" in Path(f"/proc/{pid}/maps").read_text()


def test_a_worker_that_is_ready_has_loaded_it(start, database):
    assert has_langgraph(start("worker", database).process.pid)


def test_the_web_does_without(web):
    assert not any(has_langgraph(pid) for pid in web.worker_pids())
