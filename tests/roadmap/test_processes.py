"""The web server's processes: as many as planned, never a connection more, and an orderly end."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.client import Client, join_all, run
from tests.people import sign_in
from tests.sampling import Sampler
from tests.service import PROJECT, connections_by_name, environment, free_port, query, wait_until

pytestmark = pytest.mark.long

# The development plan for one web process of one, two and four.
PLANNED = {
    1: {"orm": 24, "checkpointer": 1, "joins": 1, "watch": 1},
    2: {"orm": 12, "checkpointer": 1, "joins": 1, "watch": 1},
    4: {"orm": 6, "checkpointer": 1, "joins": 1, "watch": 1},
}
# Of load: so long at least, and until this much was answered, however slow the machine.
SECONDS = 2.5
ANSWERED = {("join", 202): 200, ("page", 200): 40}


async def load(url: str, cookie: str) -> Counter[tuple[str, int]]:
    """Joins and pages of the admin, each from many connections of its own."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    numbers = itertools.count()
    seen: Counter[tuple[str, int]] = Counter()

    def enough() -> bool:
        return loop.time() > end and all(seen[kind] >= times for kind, times in ANSWERED.items())

    async def joins() -> None:
        async with Client(url) as client:
            while not enough():
                answer = await client.join(f"person{next(numbers)}@example.com")
                seen["join", answer.status] += 1

    async def pages() -> None:
        async with Client(url) as client:
            while not enough():
                answer = await client.request("GET", "/admin/waitlist/entry/", headers={"Cookie": cookie})
                seen["page", answer.status] += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(joins() for _ in range(40)), *(pages() for _ in range(60)))
    return seen


@pytest.mark.parametrize("processes", PLANNED)
def test_under_load_no_name_has_more_connections_than_the_plan_gives_it(processes, start, database):
    web = start("web", database, WEB_CONCURRENCY=str(processes))
    wait_until(lambda: len(web.worker_pids()) == processes, 10, "all processes run")
    cookie = sign_in(web, database)
    with Sampler(database.superuser_url, database.name) as sampler:
        seen = run(load(web.url, cookie))
    assert set(seen) <= {("join", 202), ("page", 200), ("page", 503)}, seen
    assert sampler.looks > 50
    most = {f"roadmap_agent/web/{pool}": size * processes for pool, size in PLANNED[processes].items()}
    assert sampler.most_open.keys() <= most.keys()
    for name, connections in sampler.most_open.items():
        assert connections <= most[name], name
    assert sampler.most_open["roadmap_agent/web/watch"] == processes
    assert sampler.most_open["roadmap_agent/web/joins"] == processes


def attempt(database, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start the web server as the Procfile does; it is expected to end by itself."""
    port = {"PORT": str(free_port())}
    return subprocess.run(
        [sys.executable, "-m", "roadmap.server", *arguments],
        cwd=PROJECT,
        env=environment(database.url, **port, **variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("value", ["abc", "0", "", "-1", "1.5", "999999"])
def test_a_bad_number_of_processes_is_refused_in_one_sentence_that_names_it(value, database):
    done = attempt(database, WEB_CONCURRENCY=value)
    assert done.returncode != 0
    (sentence,) = (done.stdout + done.stderr).strip().splitlines()
    assert "WEB_CONCURRENCY" in sentence
    assert repr(value) in sentence or value == "999999"
    assert "Traceback" not in sentence


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("-w", "3"), {}),
        (("--workers=3",), {}),
        ((), {"GUNICORN_CMD_ARGS": "-w 3"}),
        ((), {"GUNICORN_CMD_ARGS": "--workers 3"}),
    ],
)
def test_gunicorns_own_ways_to_more_processes_are_refused(arguments, variables, database):
    done = attempt(database, *arguments, **variables)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    (sentence,) = (line for line in said.splitlines() if "WEB_CONCURRENCY" in line)
    assert "3 processes" in sentence
    assert connections_by_name(database.superuser_url, database.name) == {}


@pytest.mark.parametrize("name", ["TTIN", "HUP", "USR2"])
def test_a_signal_that_would_add_processes_adds_none(name, web, database):
    before = web.worker_pids()
    assert web.process is not None
    web.process.send_signal(getattr(signal, f"SIG{name}"))
    wait_until(lambda: f"SIG{name} would open more" in web.log(), 5, "the signal is told of")
    # The master looks after its processes once a second.
    seen = set()
    give_up = time.monotonic() + 1.5
    while time.monotonic() < give_up:
        seen.add(tuple(web.worker_pids()))
    assert seen == {tuple(before)}
    assert web.join("ada@example.com").status_code == 202
    assert connections_by_name(database.superuser_url, database.name)["roadmap_agent/web/watch"] == 1


def test_processes_whose_master_was_killed_end_by_themselves(start, database):
    web = start("web", database, WEB_CONCURRENCY="2")
    wait_until(lambda: len(web.worker_pids()) == 2, 10, "both processes run")
    web.process.kill()
    web.process.wait()
    wait_until(
        lambda: connections_by_name(database.superuser_url, database.name) == {}, 10, "no connection is left"
    )
    assert web.log().count("Application shutdown complete") == 2


def test_sigterm_answers_what_is_in_flight_closes_everything_and_exits_with_0(web, database):
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled")

    def emails():
        for n in range(100_000):
            if n == 2_000:
                web.tell_to_end()
            if n > 2_000 and web.process.poll() is not None:
                return
            yield f"person{n}@example.com"

    answers = run(asyncio.wait_for(join_all(web.url, emails(), clients=50), 30))
    assert web.stop() == 0
    statuses = Counter(answer.status if answer is not None else None for answer in answers.values())
    assert statuses[202] >= 1_900
    assert set(statuses) <= {202, 503, None}, statuses
    accepted = {email for email, answer in answers.items() if answer is not None and answer.status == 202}
    assert accepted <= {row[0] for row in query(database.url, "SELECT email FROM waitlist_entry")}
    assert connections_by_name(database.superuser_url, database.name) == {}
    log = web.log()
    assert "Traceback" not in log
    assert "Application shutdown complete" in log


def waiting_for_a_lock(database) -> int:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    return int(query(database.superuser_url, statement, database.name)[0][0])


def test_joins_whose_commit_is_under_way_at_sigterm_are_answered_first(web, database):
    async def join_while_it_stops() -> list[int]:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(web.url)) for _ in range(50)]
            joins = [
                asyncio.create_task(client.join(f"late{n}@example.com")) for n, client in enumerate(clients)
            ]
            await asyncio.to_thread(
                wait_until, lambda: waiting_for_a_lock(database), 5, "the writer waits for the table"
            )
            web.tell_to_end()
            await asyncio.sleep(0.5)
            holder.rollback()
            return [(await join).status for join in joins]

    with psycopg.connect(database.superuser_url) as holder:
        holder.execute("LOCK TABLE waitlist_entry")
        assert run(join_while_it_stops()) == [202] * 50
    assert web.stop() == 0
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(50,)]
    assert connections_by_name(database.superuser_url, database.name) == {}


def test_sigterm_ends_a_server_whose_database_hangs_within_gunicorns_grace(start, own_postgres, own_database):
    """Its callers have had their answers at their deadlines, and a commit that hangs cannot be waited for."""
    web = start("web", own_database)
    web.join("before@example.com")
    frozen = with_children(own_postgres.pid)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert web.join("during@example.com").status_code == 503
        started = time.monotonic()
        assert web.stop() == 0
        took = time.monotonic() - started
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert took < 20 + 3
    wait_until(
        lambda: connections_by_name(own_database.superuser_url, own_database.name) == {},
        5,
        "the server has noticed that they are gone",
    )


def test_a_server_that_is_told_to_end_stops_what_its_pages_still_ask(start, database):
    web = start("web", database, DJANGO_SETTINGS_MODULE="tests.slow_settings", PAGE_DEADLINE="60")

    async def ask_and_end() -> None:
        async with Client(web.url) as client:
            asking = asyncio.create_task(client.request("GET", "/slow/query?seconds=60"))
            await asyncio.to_thread(wait_until, lambda: sleeping(database), 5, "the query runs")
            web.tell_to_end()
            await asyncio.wait({asking})

    started = time.monotonic()
    run(ask_and_end())
    assert web.stop() == 0
    assert time.monotonic() - started < 18, "before gunicorn would have killed it"
    wait_until(lambda: not sleeping(database), 1, "nothing is left of the query")


def sleeping(database) -> bool:
    statement = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'SELECT pg_sleep%%'"
    return bool(query(database.superuser_url, statement, database.name))


def with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
