"""PostgreSQL goes away in the middle of joins and comes back.

Callers have their answer within the deadline, what was answered with 202 is there, and everything heals by itself.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.client import Answer, Client, run
from tests.people import sign_in
from tests.service import connections_by_name, query, wait_until

pytestmark = pytest.mark.long

JOIN_DEADLINE = 2.0
PAGE_DEADLINE = 5.0
PACE = 0.02  # seconds between two joins of a client
CLIENTS = 20


@dataclass
class Seen:
    """What the callers saw: each join's moment, address and answer; and how late this machine was."""

    joins: list[tuple[float, str, Answer]] = field(default_factory=list)
    pages: list[tuple[float, Answer]] = field(default_factory=list)
    lateness: float = 0.0  # the longest that the event loops here and there kept something waiting
    returned: float = 0.0  # when the server was back

    def accepted(self) -> set[str]:
        return {email for _, email, answer in self.joins if answer.status == 202}

    def after(self, seconds: float) -> list[Answer]:
        """The answers to joins that were sent so long after the server's return."""
        return [answer for sent, _, answer in self.joins if sent >= self.returned + seconds]


async def keep_joining(url: str, seen: Seen, ended: asyncio.Event, numbers: Iterator[int]) -> None:
    async with Client(url) as client:
        while not ended.is_set():
            email, sent = f"person{next(numbers)}@example.com", time.monotonic()
            seen.joins.append((sent, email, await client.join(email)))
            await asyncio.sleep(PACE)


async def keep_reading(url: str, path: str, cookie: str, seen: Seen, ended: asyncio.Event) -> None:
    async with Client(url) as client:
        while not ended.is_set():
            sent = time.monotonic()
            answer = await asyncio.wait_for(client.request("GET", path, headers={"Cookie": cookie}), 40)
            seen.pages.append((sent, answer))
            await asyncio.sleep(0.1)


async def keep_measuring(url: str, seen: Seen, ended: asyncio.Event) -> None:
    """What the machine itself adds to every answer: `/health/live` needs nothing but a turn of the loops."""
    async with Client(url) as client:
        while not ended.is_set():
            started = time.monotonic()
            await client.request("GET", "/health/live")
            seen.lateness = max(seen.lateness, time.monotonic() - started)
            await asyncio.sleep(0.01)


async def joins_through(
    url: str, cookie: str, stop: Callable[[], None], start: Callable[[], None], away: float, after: float
) -> Seen:
    """Joins and page views from 1 s before the outage until `after` seconds behind it."""
    seen, ended, numbers = Seen(), asyncio.Event(), iter(range(10**9))
    tasks = [asyncio.create_task(keep_joining(url, seen, ended, numbers)) for _ in range(CLIENTS)]
    tasks.append(asyncio.create_task(keep_reading(url, "/admin/", cookie, seen, ended)))
    tasks.append(asyncio.create_task(keep_measuring(url, seen, ended)))
    await asyncio.sleep(1)
    await asyncio.to_thread(stop)
    await asyncio.sleep(away)
    await asyncio.to_thread(start)
    seen.returned = time.monotonic()
    await asyncio.sleep(after)
    ended.set()
    await asyncio.gather(*tasks)
    return seen


@pytest.mark.parametrize(
    ("how", "away", "heals"),
    [("fast", 3, 2), ("crash", 3, 2), ("fast", 60, 5)],
    ids=["stop", "crash", "a-minute"],
)
def test_an_outage_is_answered_in_time_and_healed(how, away, heals, start, own_postgres, own_database):
    web = start("web", own_database)
    cookie = sign_in(web, own_database)
    before = wait_until(lambda: at_rest(web), 5, "the pools are at rest")
    names = connections_by_name(own_database.superuser_url, own_database.name)

    seen = run(
        joins_through(web.url, cookie, lambda: own_postgres.stop(how), own_postgres.start, away, heals + 3)
    )

    statuses = Counter(answer.status for _, _, answer in seen.joins)
    assert set(statuses) == {202, 503}, statuses
    assert all(int(a.headers["retry-after"]) >= 1 for _, _, a in seen.joins if a.status == 503)
    slowest = max(answer.seconds for _, _, answer in seen.joins)
    assert slowest <= JOIN_DEADLINE + 0.1 + seen.lateness, (
        f"slowest {slowest:.2f} s, lateness {seen.lateness:.2f} s"
    )

    assert {answer.status for answer in seen.after(heals)} == {202}
    assert len(seen.after(heals)) > 100
    assert seen.accepted() <= {row[0] for row in query(own_database.url, "SELECT email FROM waitlist_entry")}

    assert {answer.status for _, answer in seen.pages} <= {200, 503}
    assert all(int(a.headers["retry-after"]) >= 1 for _, a in seen.pages if a.status == 503)
    assert max(answer.seconds for _, answer in seen.pages) <= PAGE_DEADLINE + 0.1 + seen.lateness
    healed_pages = [answer.status for sent, answer in seen.pages if sent >= seen.returned + heals]
    assert healed_pages
    assert set(healed_pages) == {200}
    assert web.is_ready()
    after = wait_until(lambda: at_rest(web), 5, "the pools are at rest again")
    open_now = connections_by_name(own_database.superuser_url, own_database.name)
    assert names.keys() <= open_now.keys()
    for pool, figures in after.items():
        # As before, or more by what the outage had it open: nothing is lost for ever, nothing is over the plan.
        assert before[pool]["size"] <= figures["size"] <= figures["max"]
        assert open_now.get(f"roadmap_agent/web/{pool}", 0) == figures["size"]


def test_a_server_whose_threads_wait_for_connections_ends_when_told(start, own_postgres, own_database):
    web = start("web", own_database)
    cookie = sign_in(web, own_database)
    own_postgres.stop("crash")

    async def read_20_pages() -> list[Answer]:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(web.url)) for _ in range(20)]
            pages = [client.request("GET", "/admin/", headers={"Cookie": cookie}) for client in clients]
            return await asyncio.gather(*pages)

    assert {answer.status for answer in run(read_20_pages())} == {503}
    assert web.health()["threads"]["busy"], "threads wait for longer than who asked"
    told = time.monotonic()
    assert web.stop() == 0
    assert time.monotonic() - told < 10


def at_rest(web) -> dict[str, dict[str, int]] | None:
    """The pools' figures once nothing is in use or waited for."""
    pools = web.health()["pools"]
    idle = all(pool["used"] == pool["waiting"] == 0 for pool in pools.values())
    return pools if idle and all(pool["size"] >= pool["min"] for pool in pools.values()) else None


def test_a_service_that_starts_before_its_database_says_so_and_gets_ready(start, own_postgres, own_database):
    own_postgres.stop()
    web = start("web", own_database, ready=False)
    wait_until(lambda: answers_at_all(web), 20, "the server answers")
    refused = wait_until(lambda: not_ready_for(web, "connect_failed"), 10, "it says why it is not ready")
    assert refused.status_code == 503
    assert web.get("/health/live").status_code == 200
    assert web.get("/health").status_code == 503
    assert web.health()["faults"]["connect_failed"] >= 1
    join = web.join("early@example.com")
    assert join.status_code == 503
    assert join.headers["retry-after"] == "1"

    own_postgres.start()
    wait_until(web.is_ready, 5, "it is ready")
    assert web.join("ada@example.com").status_code == 202
    wait_until(lambda: at_rest(web), 10, "the pools have filled")


def answers_at_all(web) -> bool:
    try:
        return web.get("/health/live").status_code == 200
    except httpx.HTTPError:
        return False


def not_ready_for(web, reason: str):
    answer = web.get("/health/ready")
    return answer if answer.status_code == 503 and answer.json()["reason"] == reason else None
