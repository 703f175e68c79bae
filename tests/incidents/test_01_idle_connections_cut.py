"""Incident 1: "could not receive data: timed out" after 18 idle seconds.

The network cut idle connections, and the first caller of each got the error. The pool was made bigger. Here an idle
connection is checked before it is used, or its statement is repeated: a cut costs nobody a request.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.client import Answer, Client, run
from tests.people import sign_in
from tests.proxy import Proxy
from tests.service import query, wait_until

POOLS = {
    "the pools": ("roadmap_agent/web/orm", "roadmap_agent/web/joins"),
    "the pools and the watch": (
        "roadmap_agent/web/orm",
        "roadmap_agent/web/joins",
        "roadmap_agent/web/watch",
    ),
}


async def one_page(url: str, cookie: str) -> Answer:
    async with Client(url) as client:
        return await client.request("GET", "/admin/", headers={"Cookie": cookie})


async def use_everything(url: str, cookie: str) -> tuple[list[Answer], list[Answer]]:
    """Twenty joins and twenty pages at once, from clients that connect for it."""

    async def one(request: str, number: int) -> Answer:
        if request == "join":
            async with Client(url) as client:
                return await client.join(f"person{number}@example.com")
        return await one_page(url, cookie)

    joins = [one("join", number) for number in range(20)]
    pages = [one("page", number) for number in range(20)]
    answers = await asyncio.gather(*joins, *pages)
    return answers[:20], answers[20:]


@pytest.mark.parametrize("cut", POOLS)
def test_idle_connections_that_the_server_ends_cost_no_request(cut, web, database):
    cookie = sign_in(web, database)
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled")
    ended = query(
        database.superuser_url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = %s AND application_name = ANY(%s)",
        database.name,
        list(POOLS[cut]),
    )
    assert len(ended) >= 9
    # One caller alone meets one dead connection after the other, unless the first has all of them looked at.
    alone = run(one_page(web.url, cookie))
    assert alone.status == 200
    assert alone.seconds < 0.9
    joins, pages = run(use_everything(web.url, cookie))
    assert {answer.status for answer in joins} == {202}
    assert {answer.status for answer in pages} == {200}
    assert max(answer.seconds for answer in [*joins, *pages]) < 2
    faults = web.health()["faults"]
    assert faults["connection_lost"] >= 1
    assert faults["pool_timeout"] == faults["deadline"] == 0
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(20,)]


@asynccontextmanager
async def through_a_proxy(database) -> AsyncIterator[tuple[Proxy, object]]:
    """A network between the service and its database, that a test can cut."""
    address = urlsplit(database.url)
    assert address.hostname is not None
    assert address.port is not None
    async with Proxy(address.hostname, address.port).running() as proxy:
        host = f"{address.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.own_port}"
        yield proxy, replace(database, url=urlunsplit(address._replace(netloc=host)))


def test_idle_connections_that_the_network_cuts_cost_no_request(start, database):
    async def cut_and_use() -> tuple[list[Answer], list[Answer]]:
        async with through_a_proxy(database) as (proxy, database_behind_it):
            web = await asyncio.to_thread(start, "web", database_behind_it)
            cookie = await asyncio.to_thread(sign_in, web, database)
            await asyncio.to_thread(
                wait_until, lambda: web.health()["pools"]["orm"]["idle"] == 8, 5, "the pool is filled"
            )
            await proxy.cut()
            answers = await use_everything(web.url, cookie)
            await asyncio.to_thread(web.kill)
            return answers

    joins, pages = run(cut_and_use())
    assert {answer.status for answer in joins} == {202}
    assert {answer.status for answer in pages} == {200}
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(20,)]
