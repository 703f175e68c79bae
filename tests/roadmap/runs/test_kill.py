"""`kill -9` of the worker in every node: another goes on where it was, and nothing is lost or written twice."""

import time

import psycopg
import pytest

from roadmap.runs.nodes import LESSONS_AT_ONCE
from tests.service import query, wait_until

pytestmark = pytest.mark.alone

# Of a run that is listed with a node, what the node has brought cannot be stored, nor the checkpoint after it, as if
# the connection was cut at that moment again and again; `tries` counts how often, as it outlasts what is rolled back.
TRIGGERS = """
    CREATE TABLE stuck (roadmap_id text, node text, tries text);
    GRANT SELECT ON stuck TO PUBLIC;
    CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        row jsonb := to_jsonb(NEW);
    BEGIN
        PERFORM nextval(tries::regclass) FROM stuck WHERE NEW.thread_id = roadmap_id || ':0' AND CASE
            WHEN TG_TABLE_NAME = 'checkpoints'
            THEN row->'checkpoint'->'versions_seen' ? node OR
                 node = 'write' AND row->'checkpoint'->'channel_versions' ? 'lessons'
            WHEN node = 'write' THEN row->>'task_path' LIKE '%pregel_push%'  -- lessons are pushed, by `Send`
            ELSE row->>'task_path' LIKE '%pregel_pull, ' || node || '%'
        END;
        IF FOUND THEN
            RAISE EXCEPTION 'cut' USING ERRCODE = 'admin_shutdown';
        END IF;
        RETURN NEW;
    END $$;
"""
TRIGGER = "CREATE TRIGGER cut BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION cut()"
TRIES = 3  # by then a run has recorded whatever it records meanwhile
DRAFTING = ("understand", "outline", "check", "repair", "review")
# The goals of runs, and the nodes that they come to after a review, `review` itself once more.
REVISED = {"revise": "revise", "heard": "review"}
WRITING = {"write": "write", "finish": "finish", "approved": "review"}


@pytest.mark.parametrize("lost", [("checkpoint_writes", "checkpoints"), ("checkpoints",)], ids=" and ".join)
def test_a_run_killed_in_any_node_ends_ready_with_every_lesson_once(lost, start, desk, model, asks, database):
    most = {"CHECKPOINTER_POOL_MAX_SIZE": "40", "DB_POOL_MAX_SIZE": "60", "WORKER_DB_POOL_MAX_SIZE": "20"}
    first = start("worker", database, **asks, **most)
    # The first time, no checkpoint comes after a review.
    drafting = [node for node in DRAFTING if node != "review" or "checkpoint_writes" in lost]
    nodes = {}
    model.fault("circle", step="outline", goal="repair")
    with psycopg.connect(database.superuser_url, autocommit=True) as holder:
        holder.execute(TRIGGERS)
        for table in lost:
            holder.execute(TRIGGER.format(table))
        for goal in (*REVISED, *WRITING):
            nodes[goal] = desk.start(goal=goal)
            desk.wait_for(nodes[goal], "review")
            stick(holder, nodes[goal], {**REVISED, **WRITING}[goal], goal)
        for node in drafting:
            nodes[node] = desk.start(goal=node)
            stick(holder, nodes[node], node, node)
        for goal in REVISED:
            desk.revise(nodes[goal], "Something else.")
        for goal in WRITING:
            desk.approve(nodes[goal])
        for goal in nodes:
            tries = f"SELECT last_value >= {TRIES} FROM {goal}_tries"
            wait_until(lambda tries=tries: query(database.superuser_url, tries)[0][0], 20, f"stuck in {goal}")
        second = start("worker", database, **asks, **most)
        first.kill()
        killed = time.monotonic()
        holder.execute("DELETE FROM stuck")
        attempts = wait_until(lambda: taken_again(database, nodes), 10, "the runs go on elsewhere")
        took = time.monotonic() - killed
    assert set(attempts) == set(nodes)
    assert took < 10
    for goal in (*drafting, *REVISED):
        desk.wait_for(nodes[goal], "review")
        outline = [data for _, kind, data in desk.events(nodes[goal]) if kind == "outline"][-1]
        assert ("Something else." in outline["summary"]) == (goal in REVISED), goal
        desk.approve(nodes[goal])
    for goal, roadmap_id in nodes.items():
        desk.wait_for(roadmap_id, "ready")
        assert all(f"about {key}." in text for key, text in desk.lessons(roadmap_id).items()), goal
        announced = [data["concept"] for _, kind, data in desk.events(roadmap_id) if kind == "lesson"]
        assert sorted(announced) == [f"c{n}" for n in range(1, 7)], f"killed in {goal}: one lesson, one event"
    lessons = model.asked()["lessons"]
    assert max(lessons.values()) <= 2, "asked at most once more for a lesson that was being written"
    assert {asked.split("/")[0] for asked, times in lessons.items() if times > 1} <= {"write"}
    assert "Traceback" not in second.log()


def stick(holder, roadmap_id: str, node: str, goal: str) -> None:
    holder.execute(f"CREATE SEQUENCE {goal}_tries")
    holder.execute("INSERT INTO stuck VALUES (%s, %s, %s)", [roadmap_id, node, f"{goal}_tries"])


def taken_again(database, nodes: dict[str, str]) -> list[str] | None:
    """The goals, once all of their runs have another attempt since they were stuck."""
    rows = query(
        database.url,
        "SELECT goal FROM roadmap_roadmap WHERE attempt >= CASE WHEN goal = ANY(%s) THEN 4 ELSE 2 END",
        [*REVISED, *WRITING],
    )
    return [goal for (goal,) in rows] if len(rows) == len(nodes) else None


def test_a_run_killed_again_and_again_while_lessons_are_written_loses_none(
    start, desk, model, asks, database
):
    model.settings(stages=4, concepts=5)
    worker = start("worker", database, **asks)
    roadmap_id = desk.start()
    desk.wait_for(roadmap_id, "review")
    model.settings(delay=1.5)
    desk.approve(roadmap_id)
    for _ in range(2):
        had = written(desk, roadmap_id)
        wait_until(lambda had=had: written(desk, roadmap_id) > had, 20, "another lesson is written")
        spare = start("worker", database, **asks)
        worker.kill()
        worker = spare
    model.settings(delay=0.1)
    desk.wait_for(roadmap_id, "ready", 40)
    assert all(desk.lessons(roadmap_id).values())
    announced = [data["concept"] for _, kind, data in desk.events(roadmap_id) if kind == "lesson"]
    assert len(announced) == len(set(announced)) == 20
    asked = model.asked()["lessons"].values()
    assert max(asked) <= 3, "once, and once more for each time that it was being written"
    assert sum(asked) <= 20 + 2 * (LESSONS_AT_ONCE + 2), "what was stored is not asked for again"


def written(desk, roadmap_id: str) -> int:
    return sum(bool(lesson) for lesson in desk.lessons(roadmap_id).values())
