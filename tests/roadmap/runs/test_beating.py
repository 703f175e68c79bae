"""A worker's heart beats on and it listens on, whatever it was that failed; its runs notice nothing."""

import psycopg

from tests.service import query, wait_until

# Heartbeats fail, though every connection is well; `tries` counts them, as it outlasts what is rolled back.
FORBID = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        PERFORM nextval('tries');
        RAISE EXCEPTION 'permission denied' USING ERRCODE = 'insufficient_privilege';
    END $$;
    CREATE TRIGGER forbid BEFORE UPDATE ON procrastinate_workers FOR EACH ROW EXECUTE FUNCTION forbid();
"""
ALLOW = "DROP TRIGGER forbid ON procrastinate_workers"
TRIES = "SELECT last_value FROM tries"
BEATS = "SELECT id, last_heartbeat FROM procrastinate_workers"
LISTENING = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND query LIKE 'LISTEN "procrastinate%'
"""
NONSENSE = "SELECT pg_notify('procrastinate_queue_v1#default', 'no JSON')"


def beats(database) -> dict[int, object]:
    return dict(query(database.url, BEATS))


def test_heartbeats_that_fail_for_a_moment_go_on_and_the_run_at_work_too(worker, desk, model, database):
    model.settings(delay=4.0)  # twice, for longer than a worker without heartbeats is taken to be alive
    roadmap_id = desk.start()
    wait_until(lambda: model.asked()["steps"].get("understand"), 10, "it is at work")
    with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
        superuser.execute(FORBID)
        wait_until(lambda: query(database.superuser_url, TRIES)[0][0] >= 2, 5, "both workers' have failed")
        superuser.execute(ALLOW)
    failed = beats(database)

    def all_beat() -> bool:
        now = beats(database)
        return now.keys() == failed.keys() and all(now[worker] > failed[worker] for worker in now)

    wait_until(all_beat, 4, "both beat again")
    desk.wait_for(roadmap_id, "review")
    assert desk.field(roadmap_id, "attempt") == 1
    assert model.asked()["steps"] == {"understand": 1, "outline": 1}
    assert beats(database).keys() == failed.keys(), "they are the same workers"


def test_a_listener_that_is_told_nonsense_begins_again(worker, desk, database):
    workers = beats(database).keys()
    ((listening,),) = wait_until(lambda: query(database.superuser_url, LISTENING), 5, "it listens")
    query(database.url, NONSENSE)

    def listens_again() -> bool:
        now = query(database.superuser_url, LISTENING)
        return len(now) == 1 and now != [(listening,)]

    wait_until(listens_again, 5, "it listens again")
    desk.wait_for(desk.start(), "review")
    assert beats(database).keys() == workers, "they are the same workers"
