"""The whole way of a roadmap, with a real worker that asks a model's server."""

import pytest

from tests.roadmap.runs.desk import Desk, Refused
from tests.service import query, wait_until


def statuses(desk: Desk, roadmap_id: str) -> list[str]:
    seen: list[str] = []
    for _, kind, data in desk.events(roadmap_id):
        if kind == "status" and (not seen or seen[-1] != data["status"]):
            seen.append(data["status"])
    return seen


def test_a_roadmap_is_drafted_waits_for_its_review_and_is_written(office):
    desk = office.desk
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    lessons = desk.lessons(roadmap_id)
    assert list(lessons) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert set(lessons.values()) == {""}, "nothing is written before somebody has approved it"
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready")
    assert all(f"about {key}" in lesson for key, lesson in desk.lessons(roadmap_id).items())
    assert statuses(desk, roadmap_id) == ["queued", "drafting", "review", "writing", "ready"]
    events = desk.events(roadmap_id)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    written = [data["concept"] for _, kind, data in events if kind == "lesson"]
    assert sorted(written) == sorted(lessons), "each lesson is announced once"
    assert [data["done"] for _, kind, data in events if kind == "lesson"] == list(range(1, len(lessons) + 1))


def test_prerequisites_and_stages_are_stored_as_they_were_drafted(office):
    desk, database = office.desk, office.database
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    ((outline,),) = [[data] for _, kind, data in desk.events(roadmap_id) if kind == "outline"]
    drafted = {
        (concept["key"], needed)
        for stage in outline["stages"]
        for concept in stage["concepts"]
        for needed in concept["prerequisites"]
    }
    assert drafted
    stored = query(
        database.url,
        "SELECT c.key, n.key FROM roadmap_concept_prerequisites p"
        " JOIN roadmap_concept c ON c.id = p.from_concept_id JOIN roadmap_concept n ON n.id = p.to_concept_id"
        " WHERE c.roadmap_id = %s",
        roadmap_id,
    )
    assert set(stored) == drafted
    stages = query(
        database.url, "SELECT title FROM roadmap_stage WHERE roadmap_id = %s ORDER BY position", roadmap_id
    )
    assert [title for (title,) in stages] == [stage["title"] for stage in outline["stages"]]


def test_a_draft_is_revised_as_often_as_wanted(office):
    desk, model = office.desk, office.model
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    for number, feedback in enumerate(["More exercises.", "Less theory."], 1):
        model.settings(concepts=3 - number)
        desk.revise(roadmap_id, feedback)
        desk.wait_for(roadmap_id, "review")
        assert len(desk.lessons(roadmap_id)) == 2 * (3 - number)
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready")
    assert len(desk.lessons(roadmap_id)) == 2
    assert statuses(desk, roadmap_id).count("drafting") == 3
    (last,) = [data for _, kind, data in desk.events(roadmap_id) if kind == "outline"][-1:]
    assert "More exercises. As said: Less theory." in last["summary"], "the author hears all that was said"
    assert model.asked()["steps"] == {"understand": 1, "outline": 3, "lesson": 2}


def test_the_checkpoints_of_a_run_that_is_ready_are_deleted(office):
    desk = office.desk
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    assert desk.checkpoint_rows(roadmap_id) > 10
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready")
    wait_until(lambda: desk.checkpoint_rows(roadmap_id) == 0, 10, "its checkpoints are deleted")
    assert desk.state(roadmap_id) == "ready"


def test_a_cancelled_run_ends_and_its_checkpoints_go(office):
    desk = office.desk
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    desk.call("cancel", roadmap_id)
    assert desk.state(roadmap_id) == "cancelled"
    wait_until(lambda: desk.checkpoint_rows(roadmap_id) == 0, 10, "its checkpoints are deleted")
    with pytest.raises(Refused, match="WrongState"):
        desk.approve(roadmap_id)


def test_hours_are_announced_and_judged_as_they_are_stored(office):
    desk, model = office.desk, office.model
    model.settings(hours=0.166)
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    (outline,) = [data for _, kind, data in desk.events(roadmap_id) if kind == "outline"]
    announced = [concept["hours"] for stage in outline["stages"] for concept in stage["concepts"]]
    hours = "SELECT hours::float FROM roadmap_concept WHERE roadmap_id = %s"
    assert [(each,) for each in announced] == query(office.database.url, hours, roadmap_id) == [(0.17,)] * 6
    too_much = desk.start(hours_per_week=1, weeks=1)
    desk.wait_for(too_much, "failed")
    assert "take 1.02 hours together" in desk.field(too_much, "error")


def test_an_outline_that_no_row_can_hold_is_not_good_enough(office):
    desk, model = office.desk, office.model
    model.settings(hours=10_000)
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "failed")
    assert "takes 10000 hours; it must take more than 0, and at most 9999" in desk.field(roadmap_id, "error")
