"""What the door lets through and what it refuses; row, event and job come together or not at all."""

from typing import Any

import pytest

from tests.inside import inside
from tests.roadmap.runs.desk import Desk, Refused
from tests.service import query, wait_until

JOBS = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'run'"


def refused(desk: Desk, name: str, *arguments: Any, **options: Any) -> str:
    with pytest.raises(Refused) as refusal:
        desk.call(name, *arguments, **options)
    return refusal.value.name


def put(desk: Desk, roadmap_id: str, state: str) -> None:
    query(
        desk.database.superuser_url,
        "UPDATE roadmap_roadmap SET state = %s WHERE id = %s RETURNING 1",
        state,
        roadmap_id,
    )


def test_a_start_is_a_row_an_event_and_a_job(desk, database):
    roadmap_id = desk.start(hours_per_week=5, weeks=10, level="beginner", language="de")
    assert desk.state(roadmap_id) == "queued"
    assert desk.events(roadmap_id) == [(1, "status", {"status": "queued"})]
    assert query(database.url, "SELECT lock, status FROM procrastinate_jobs") == [(roadmap_id, "todo")]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"goal": "  "}, "goal"),
        ({"goal": "x" * 501}, "goal"),
        ({"goal": "a\x00b"}, "goal"),
        ({"goal": "a\ud800b"}, "goal"),
        ({"goal": "Learn", "hours_per_week": 0}, "hours_per_week"),
        ({"goal": "Learn", "hours_per_week": 169}, "hours_per_week"),
        ({"goal": "Learn", "weeks": 521}, "weeks"),
        ({"goal": "Learn", "level": "x" * 101}, "level"),
        ({"goal": "Learn", "language": "x" * 36}, "language"),
    ],
)
def test_a_start_with_a_bad_field_is_refused_by_its_name(options, field, desk):
    with pytest.raises(Refused, match=f"Invalid: {field}:"):
        desk.call("start", **options)
    assert desk.states() == {}


def test_a_goal_that_the_catalogue_does_not_know_is_refused_with_the_nearest_topics(database):
    with Desk(database) as desk, pytest.raises(Refused, match=r"UnknownGoal: .* the nearest are"):
        desk.start(goal="The care of medieval tapestries")
    assert query(database.url, JOBS) == [(0,)]


def test_approve_pressed_20_times_at_once_is_taken_once(desk, database):
    roadmap_id = desk.start()
    put(desk, roadmap_id, "review")
    answers = desk.call("review", roadmap_id, "approve", at_once=20)
    assert sorted(answers) == ["WrongState"] * 19 + ["done"]
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE lock = %s"
    assert query(database.url, jobs, roadmap_id) == [(2,)], "the start's and one more"
    assert desk.state(roadmap_id) == "writing"


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (("review", "approve"), {"review"}),
        (("review", "revise", "More."), {"review"}),
        (("cancel",), {"queued", "drafting", "review", "writing"}),
        (("retry",), {"failed", "ready_with_gaps"}),
    ],
)
def test_only_the_states_that_allow_it_do(call, allowed, desk):
    name, *arguments = call
    roadmap_id = desk.start()
    for state in (
        "queued",
        "drafting",
        "review",
        "writing",
        "ready",
        "ready_with_gaps",
        "failed",
        "cancelled",
    ):
        put(desk, roadmap_id, state)
        if state in allowed:
            desk.call(name, roadmap_id, *arguments)
            assert desk.state(roadmap_id) != state
        else:
            assert refused(desk, name, roadmap_id, *arguments) == "WrongState"
            assert desk.state(roadmap_id) == state


def test_somebody_elses_roadmap_is_as_if_it_did_not_exist(desk):
    roadmap_id = desk.start()
    put(desk, roadmap_id, "review")
    for name, *arguments in (("review", "approve"), ("cancel",), ("retry",), ("delete",)):
        assert refused(desk, name, roadmap_id, *arguments, person="eve") == "NotFound"
    assert desk.state(roadmap_id) == "review"


def test_a_review_needs_a_decision_and_a_revise_feedback_that_can_be_stored(desk):
    roadmap_id = desk.start()
    put(desk, roadmap_id, "review")
    for arguments in (
        ("perhaps",),
        ("revise",),
        ("revise", " "),
        ("revise", "x" * 2001),
        ("revise", "a\x00"),
    ):
        assert refused(desk, "review", roadmap_id, *arguments) == "Invalid"
    assert desk.state(roadmap_id) == "review"


def test_somebody_may_start_so_many_a_day_deleted_ones_included(database, asks):
    with Desk(database, **asks, ROADMAPS_PER_DAY="2") as desk:
        first = desk.start()
        desk.start()
        desk.call("delete", first)
        assert refused(desk, "start", goal="One more") == "LimitReached"
        desk.start(person="eve")
        query(
            database.superuser_url,
            "UPDATE roadmap_start SET at = now() - interval '25 hours' WHERE id = (SELECT min(id) FROM roadmap_start)"
            " RETURNING 1",
        )
        desk.start()


def test_somebody_may_have_so_many_unfinished_at_once(database, asks):
    with Desk(database, **asks, ROADMAPS_AT_ONCE="2") as desk:
        first, second = desk.start(), desk.start()
        put(desk, first, "review")
        assert refused(desk, "start", goal="One more") == "LimitReached"
        put(desk, first, "failed")
        third = desk.start()
        assert refused(desk, "retry", first) == "LimitReached"
        put(desk, third, "ready")
        desk.call("retry", first)
        assert desk.state(second) == "queued"


def test_starts_at_the_same_moment_do_not_pass_the_limit_together(database, asks):
    with Desk(database, **asks, ROADMAPS_AT_ONCE="3") as desk:
        answers = desk.call("start", goal="Everything", at_once=12)
    assert sorted(answers) == ["LimitReached"] * 9 + ["done"] * 3


def test_deleting_takes_everything_with_it(desk, database, worker):
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    desk.call("delete", roadmap_id)
    for table in ("roadmap", "stage", "concept", "event"):
        assert query(database.url, f"SELECT count(*) FROM roadmap_{table}") == [(0,)]
    wait_until(lambda: query(database.url, "SELECT count(*) FROM checkpoints") == [(0,)], 10, "pruned")
    assert query(database.url, "SELECT count(*) FROM checkpoint_blobs") == [(0,)]


async def start_and_roll_back(arguments: dict[str, Any]) -> None:
    """In the process: a roadmap started in a transaction that fails, and one that does not."""
    from django.contrib.auth.models import User
    from django.db import transaction

    from roadmap.runs import door

    class Changed(Exception):
        pass

    def work() -> None:
        owner = User.objects.create(username="ada")
        try:
            with transaction.atomic():
                door.start(owner, goal="never")
                raise Changed
        except Changed:
            door.start(owner, goal="always")

    await arguments["opened"].threads.submit(work).done


async def start_and_roll_back_at_work(arguments: dict[str, Any]) -> None:
    """In the process: the same, while its worker is at work and has its own way to the jobs."""
    from roadmap.runs.working import working

    opened = arguments["opened"]
    async with working(opened.jobs, opened.threads, 1):
        await start_and_roll_back(arguments)


@pytest.mark.parametrize(
    ("role", "work"), [("web", start_and_roll_back), ("worker", start_and_roll_back_at_work)]
)
def test_a_job_queued_in_a_transaction_that_rolls_back_never_runs(role, work, start, database, asks, model):
    inside(role, database, work, **asks)
    assert query(database.url, "SELECT goal FROM roadmap_roadmap") == [("always",)]
    assert query(database.url, JOBS) == [(1,)]
    start("worker", database, **asks)
    reviewed = "SELECT count(*) FROM roadmap_roadmap WHERE state = 'review'"
    wait_until(lambda: query(database.url, reviewed) == [(1,)], 20, "the other one is drafted")
    assert model.asked()["steps"] == {"understand": 1, "outline": 1}
    assert query(database.url, JOBS) == [(1,)]
