"""What a job has recorded and repeats after an unclear cut, when a person has decided in between: it comes too late."""

from typing import Any

import pytest

from tests.inside import inside
from tests.service import query

OUTLINE = {
    "title": "The first",
    "summary": "A summary.",
    "stages": [
        {
            "title": "A stage",
            "summary": "Its summary.",
            "concepts": [
                {"key": "c1", "title": "One", "summary": "It.", "hours": 1.0, "prerequisites": []},
            ],
        }
    ],
}


async def repeat(arguments: dict[str, Any]) -> str:
    """In the process: a job's record, what a person does about it, and the same record once more."""
    from roadmap.models import Roadmap
    from roadmap.runs import door, events

    def work() -> str:
        roadmap_id = Roadmap.objects.get().pk
        taken = events.take(roadmap_id, "llm")
        assert taken is not None
        name, record = arguments["record"]
        getattr(events, name)(roadmap_id, taken.attempt, record)
        person = Roadmap.objects.get().owner
        what, *decision = arguments["decision"]
        getattr(door, what)(roadmap_id, person, *decision)
        try:
            getattr(events, name)(roadmap_id, taken.attempt, record)
        except events.Fenced:
            return "fenced"
        return "recorded"

    done: str = await arguments["opened"].threads.submit(work).done
    return done


@pytest.mark.parametrize(
    ("record", "decision", "state"),
    [
        (("drafted", OUTLINE), ("review", "revise", "Shorter."), "drafting"),
        (("drafted", OUTLINE), ("review", "approve"), "writing"),
        (("ended", "It failed."), ("retry",), "drafting"),
    ],
)
def test_a_record_repeated_after_a_decision_changes_nothing(record, decision, state, desk, asks, database):
    roadmap_id = desk.start()
    told = inside("worker", database, repeat, {"record": record, "decision": decision}, **asks)
    assert told == "fenced"
    assert desk.state(roadmap_id) == state
    assert desk.events(roadmap_id)[-1][2]["status"] == state
    assert query(database.url, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'") == [(2,)]
