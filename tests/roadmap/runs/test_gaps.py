"""A lesson that fails leaves a gap; a run that fails says why; both can be tried again."""

from tests.fake_openai import TOKENS
from tests.service import query, wait_until


def test_a_lesson_that_fails_leaves_a_gap_and_loses_no_other(office):
    desk, model = office.desk, office.model
    model.fault("refusal", times=None, step="lesson", concept="c2")
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready_with_gaps")
    lessons = desk.lessons(roadmap_id)
    assert [key for key, lesson in lessons.items() if not lesson] == ["c2"]
    ((gap,),) = [[data] for _, kind, data in desk.events(roadmap_id) if kind == "gap"]
    assert gap["concept"] == "c2"
    assert gap["reason"]
    assert gap["of"] == 6


def test_only_the_gap_is_written_again_on_a_thread_of_its_own(office):
    desk, model, database = office.desk, office.model, office.database
    model.fault("refusal", times=None, step="lesson", concept="c2")
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready_with_gaps")
    before = model.asked()
    model.reset()
    desk.call("retry", roadmap_id)
    desk.wait_for(roadmap_id, "ready")
    after = model.asked()
    assert after["lessons"] == {"Learn Django/c2": 1}
    assert after["steps"] == {"lesson": 1}
    assert before["lessons"]["Learn Django/c1"] == 1
    assert all(desk.lessons(roadmap_id).values())
    assert desk.field(roadmap_id, "generation") == 1
    wait_until(lambda: desk.checkpoint_rows(roadmap_id) == 0, 10, "its checkpoints are deleted")
    assert query(
        database.url, "SELECT gap FROM roadmap_concept WHERE roadmap_id = %s AND key = 'c2'", roadmap_id
    ) == [("",)]


def test_the_tokens_of_a_run_are_those_of_every_request(office):
    desk, model = office.desk, office.model

    def counted() -> tuple[int, int]:
        return desk.field(roadmap_id, "tokens_in"), desk.field(roadmap_id, "tokens_out")

    # Lessons that are too short are answers all the same, to a request and to that for its repair.
    model.fault("short", times=2, step="lesson", concept="c2")
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    desk.approve(roadmap_id)
    desk.wait_for(roadmap_id, "ready_with_gaps")
    assert model.asked()["steps"] == {"understand": 1, "outline": 1, "lesson": 5 + 2}
    assert counted() == (9 * TOKENS["prompt_tokens"], 9 * TOKENS["completion_tokens"])
    desk.call("retry", roadmap_id)
    desk.wait_for(roadmap_id, "ready")
    assert model.asked()["requests"] == 10
    assert counted() == (10 * TOKENS["prompt_tokens"], 10 * TOKENS["completion_tokens"])


def test_an_outline_is_repaired_three_times_at_most(office):
    desk, model = office.desk, office.model
    model.fault("circle", times=None, step="outline", goal="hopeless")
    model.fault("circle", times=3, step="outline", goal="hard")
    hopeless, hard = desk.start(goal="hopeless"), desk.start(goal="hard")
    desk.wait_for(hopeless, "failed")
    desk.wait_for(hard, "review")
    last = desk.events(hopeless)[-1][2]
    assert "circle" in last["error"]
    assert model.asked()["steps"]["outline"] == 4 + 4


def test_a_failed_draft_is_begun_again(office):
    desk, model = office.desk, office.model
    model.fault("refusal", times=None, step="understand")
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "failed")
    assert desk.field(roadmap_id, "error")
    model.reset()
    desk.call("retry", roadmap_id)
    desk.wait_for(roadmap_id, "review")
    assert desk.field(roadmap_id, "error") == ""


def test_a_failed_revision_is_tried_again_with_all_that_was_said(office):
    desk, model = office.desk, office.model
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    model.fault("refusal", times=None, step="outline")
    desk.revise(roadmap_id, "More exercises.")
    desk.wait_for(roadmap_id, "failed")
    model.reset()
    desk.call("retry", roadmap_id)
    desk.wait_for(roadmap_id, "review")
    outline = [data for _, kind, data in desk.events(roadmap_id) if kind == "outline"][-1]
    assert "More exercises." in outline["summary"]


def test_a_run_whose_checkpoints_are_gone_goes_on_from_its_rows(office):
    desk, model, database = office.desk, office.model, office.database
    approved, revised = desk.start(goal="approved"), desk.start(goal="revised")
    for roadmap_id in (approved, revised):
        desk.wait_for(roadmap_id, "review")
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
        query(database.url, f"DELETE FROM {table} RETURNING 1")
    desk.approve(approved)
    desk.revise(revised, "Shorter.")
    desk.wait_for(approved, "ready")
    desk.wait_for(revised, "review")
    desk.approve(revised)
    desk.wait_for(revised, "ready")
    assert all(desk.lessons(approved).values())
    assert model.asked()["steps"]["outline"] == 3


def test_a_run_cancelled_while_the_model_thinks_ends_at_once(office):
    desk, model, database = office.desk, office.model, office.database
    model.fault("stall", times=None, step="outline")
    roadmap_id = desk.start()
    wait_until(lambda: model.asked()["steps"].get("outline"), 10, "the model is asked")
    desk.call("cancel", roadmap_id)
    ended = "SELECT count(*) FROM procrastinate_jobs WHERE lock = %s AND status = 'aborted'"
    wait_until(lambda: query(database.url, ended, roadmap_id) == [(1,)], 5, "its job has ended")
    assert desk.state(roadmap_id) == "cancelled"
    assert [data["status"] for _, kind, data in desk.events(roadmap_id)][-1] == "cancelled"
