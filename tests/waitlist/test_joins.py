"""Joins by group commit, through the running web server."""

import asyncio
import contextlib
from collections import Counter

import psycopg

from tests.client import Answer, Client, join_all, run
from tests.sampling import Sampler
from tests.service import query, wait_until


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


async def join_at_once(url: str, emails: list[str]) -> list[Answer]:
    """Each on a connection of its own, opened beforehand, so that all arrive at the same moment."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(url)) for _ in emails]
        for client in clients:
            await client.request("GET", "/health/live")
        return await asyncio.gather(
            *(client.join(email) for client, email in zip(clients, emails, strict=True))
        )


def test_a_join_is_answered_and_stored(web, database):
    answer = web.join("Ada@Example.com")
    assert answer.status_code == 202, answer.text
    assert answer.json()["success"] is True
    assert query(database.url, "SELECT email, normalised, source, language FROM waitlist_entry") == [
        ("Ada@Example.com", "ada@example.com", "", "en")
    ]


def test_a_thousand_at_once_of_whom_some_are_known_share_at_most_three_connections(web, database):
    emails = [f"person{n}@example.com" for n in range(700)]
    emails += [f"PERSON{n}@Example.COM" for n in range(300)]
    with Sampler(database.superuser_url, database.name) as sampler:
        answers = run(join_at_once(web.url, emails))
    assert Counter(answer.status for answer in answers) == {202: 1000}
    assert len({answer.body for answer in answers}) == 1
    unimportant = {"date"}
    assert len({tuple((n, v) for n, v in a.headers.items() if n not in unimportant) for a in answers}) == 1
    rows = query(database.url, "SELECT normalised FROM waitlist_entry ORDER BY 1")
    assert rows == [(email,) for email in sorted(f"person{n}@example.com" for n in range(700))]
    assert sampler.looks >= 10
    assert sampler.most_open["roadmap_agent/web/joins"] >= 1
    assert sampler.most_in_use_at_once <= 3


def test_of_many_that_wait_half_are_answered_while_the_other_half_is_written(start, database):
    """In one statement they would leave the process idle, and then the database."""
    web = start("web", database, JOIN_DEADLINE="20")

    async def join_behind_one_that_waits() -> None:
        first = asyncio.create_task(join_at_once(web.url, ["first@example.com"]))
        await asyncio.to_thread(
            wait_until, lambda: web.health()["pools"]["joins"]["used"] == 1, 5, "the first is being written"
        )
        others = asyncio.create_task(join_at_once(web.url, [f"person{n}@example.com" for n in range(99)]))
        await asyncio.to_thread(
            wait_until, lambda: web.health()["joins"]["backlog"] == 99, 10, "the others wait behind it"
        )
        holder.rollback()
        assert {answer.status for answer in [*await first, *await others]} == {202}

    with psycopg.connect(database.superuser_url) as holder:
        holder.execute("LOCK TABLE waitlist_entry")
        run(join_behind_one_that_waits())
    by_transaction = "SELECT count(*) FROM waitlist_entry GROUP BY xmin::text ORDER BY 1"
    assert query(database.url, by_transaction) == [(1,), (49,), (50,)]


def test_a_known_address_keeps_what_it_joined_with(web, database):
    first, second = web.join("Ada@Example.com"), web.join("ADA@example.COM")
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert query(database.url, "SELECT email FROM waitlist_entry") == [("Ada@Example.com",)]


def test_a_row_that_the_database_refuses_spoils_no_other_join(web, database):
    """A constraint that the code does not know stands for any such row."""
    execute(database.superuser_url, "ALTER TABLE waitlist_entry ADD CHECK (normalised NOT LIKE 'mallory%')")
    emails = [f"person{n}@example.com" for n in range(200)] + ["mallory@example.com"]
    answers = run(join_at_once(web.url, emails))
    assert Counter(answer.status for answer in answers) == {202: 200, 503: 1}
    assert answers[-1].status == 503
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(200,)]
    wait_until(lambda: web.health()["joins"]["backlog"] == 0, 2, "the backlog is empty")


def test_processes_that_write_the_same_addresses_never_wait_for_each_other_in_a_circle(start, database):
    """PostgreSQL would end one of them; the writer would try again, but a second later."""
    web = start("web", database, WEB_CONCURRENCY="2")
    wait_until(lambda: len(web.worker_pids()) == 2, 10, "both processes run")
    # Rows that take a while make it likely that two statements meet half-way.
    execute(
        database.superuser_url,
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END';"
        "CREATE TRIGGER linger BEFORE INSERT ON waitlist_entry FOR EACH ROW EXECUTE FUNCTION linger()",
    )

    async def both_ways(addresses: list[str]) -> list[dict[str, Answer | None]]:
        return await asyncio.gather(
            join_all(web.url, addresses, clients=50), join_all(web.url, reversed(addresses), clients=50)
        )

    for turn in range(20):
        addresses = [f"person{turn}.{n}@example.com" for n in range(100)]
        for answers in run(both_ways(addresses)):
            assert {answer.status for answer in answers.values() if answer is not None} == {202}
            assert len(answers) == len(addresses)
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(2_000,)]
    ((deadlocks,),) = query(
        database.superuser_url, "SELECT deadlocks FROM pg_stat_database WHERE datname = %s", database.name
    )
    assert deadlocks == 0
