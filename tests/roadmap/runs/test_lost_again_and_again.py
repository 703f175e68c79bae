"""A run whose jobs are lost again and again, as if it ended its worker each time, is given up; a retry goes on."""

from roadmap.runs.rescue import LOST, MOST_LOSSES
from tests.service import query, wait_until

LOSE = "UPDATE procrastinate_jobs SET status = 'failed' WHERE status = 'doing' AND lock = %s RETURNING id"


def lose(database, model, roadmap_id: str, times: int) -> None:
    """End its job in the rows, as the rescue ends those of a dead worker, each time that the model has been asked."""
    for asked in range(1, times + 1):
        wait_until(
            lambda asked=asked: model.asked()["steps"].get("understand", 0) == asked, 10, "it is at work"
        )
        assert len(query(database.url, LOSE, roadmap_id)) == 1


def test_a_run_whose_jobs_are_all_lost_is_given_up_and_can_be_retried(worker, desk, model, database):
    model.fault("stall", times=None, goal="poison")
    roadmap_id = desk.start(goal="poison")
    lose(database, model, roadmap_id, MOST_LOSSES + 1)
    desk.wait_for(roadmap_id, "failed")
    assert desk.field(roadmap_id, "error") == LOST
    assert [data for _, _, data in desk.events(roadmap_id)][-1] == {"status": "failed", "error": LOST}
    model.reset()
    desk.call("retry", roadmap_id)
    desk.wait_for(roadmap_id, "review")
    assert desk.field(roadmap_id, "losses") == 0


def test_what_comes_in_between_begins_the_count_anew(worker, desk, model, database):
    model.fault("stall", times=MOST_LOSSES, step="understand")
    roadmap_id = desk.start()
    lose(database, model, roadmap_id, MOST_LOSSES)
    desk.wait_for(roadmap_id, "review")
    assert desk.field(roadmap_id, "losses") == 0
