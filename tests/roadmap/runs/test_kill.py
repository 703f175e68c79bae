"""`kill -9` of the worker in every node: another goes on where it was, and nothing is lost or written twice."""

import time

import psycopg

from roadmap.runs.nodes import LESSONS_AT_ONCE
from tests.service import query, wait_until

STUCK = 4_711  # an advisory lock, which the test holds
# Whoever writes what a node of a run has brought waits for that lock, if the run and the node are listed.
TRIGGER = f"""
    CREATE TABLE stuck (roadmap_id text, node text);
    GRANT SELECT ON stuck TO PUBLIC;
    CREATE FUNCTION wait_if_stuck() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM stuck WHERE NEW.thread_id = roadmap_id || ':0'
                      AND NEW.task_path LIKE '%pregel_' || node || '%') THEN
            PERFORM pg_advisory_xact_lock_shared({STUCK});
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER stuck BEFORE INSERT ON checkpoint_writes FOR EACH ROW EXECUTE FUNCTION wait_if_stuck();
"""
DRAFTING = ("understand", "outline", "check", "repair", "review")
REVISED = ("revise",)
WRITING = ("write", "finish")


def stuck_runs(database) -> int:
    statement = (
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
    )
    return int(query(database.superuser_url, statement, STUCK)[0][0])


def test_a_run_killed_in_any_node_ends_ready_with_every_lesson_once(start, desk, model, asks, database):
    most = {"CHECKPOINTER_POOL_MAX_SIZE": "40", "DB_POOL_MAX_SIZE": "60", "WORKER_DB_POOL_MAX_SIZE": "20"}
    first = start("worker", database, **asks, **most)
    nodes = {}
    model.fault("circle", step="outline", goal="repair")
    with psycopg.connect(database.superuser_url, autocommit=True) as holder:
        holder.execute(TRIGGER)
        holder.execute("SELECT pg_advisory_lock(%s)", [STUCK])
        for node in (*REVISED, *WRITING):
            nodes[node] = desk.start(goal=node)
            desk.wait_for(nodes[node], "review")
        stick(holder, nodes)
        for node in DRAFTING:
            nodes[node] = desk.start(goal=node)
            stick(holder, {node: nodes[node]})
        desk.revise(nodes["revise"], "Something else.")
        for node in WRITING:
            desk.approve(nodes[node])
        wait_until(lambda: stuck_runs(database) >= len(nodes), 20, "every run is in its node")
        second = start("worker", database, **asks, **most)
        first.kill()
        killed = time.monotonic()
        holder.execute("SELECT pg_advisory_unlock(%s)", [STUCK])
        attempts = wait_until(lambda: taken_again(database, nodes), 10, "the runs go on elsewhere")
        took = time.monotonic() - killed
    assert set(attempts) == set(nodes)
    assert took < 10
    for node in (*DRAFTING, *REVISED):
        desk.wait_for(nodes[node], "review")
        desk.approve(nodes[node])
    for node, roadmap_id in nodes.items():
        desk.wait_for(roadmap_id, "ready")
        assert all(f"about {key}." in text for key, text in desk.lessons(roadmap_id).items()), node
        announced = [data["concept"] for _, kind, data in desk.events(roadmap_id) if kind == "lesson"]
        assert sorted(announced) == [f"c{n}" for n in range(1, 7)], f"killed in {node}: one lesson, one event"
    lessons = model.asked()["lessons"]
    assert max(lessons.values()) <= 2, "asked at most once more for a lesson that was being written"
    assert {asked.split("/")[0] for asked, times in lessons.items() if times > 1} <= {"write"}
    assert "Traceback" not in second.log()


def stick(holder, nodes: dict[str, str]) -> None:
    for node, roadmap_id in nodes.items():
        # The checkpointer's name of the node: lessons are pushed, by `Send`.
        holder.execute(
            "INSERT INTO stuck VALUES (%s, %s)", [roadmap_id, "push" if node == "write" else f"pull, {node}"]
        )


def taken_again(database, nodes: dict[str, str]) -> list[str] | None:
    """The nodes, once all of their runs have a second attempt since they were stuck."""
    rows = query(
        database.url,
        "SELECT goal FROM roadmap_roadmap WHERE attempt >= CASE WHEN goal = ANY(%s) THEN 3 ELSE 2 END",
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
