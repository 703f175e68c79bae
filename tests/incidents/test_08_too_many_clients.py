"""Incident 8: "too many clients already".

Work fanned out without bound, in every process: 315 connections were asked for, of a server that allowed 100.
Semaphores of 8, then 5, then 3 followed. Here the pool is the bound, however much comes (`test_processes.py`), and a
server that is at its limit (`test_server_full.py`) does not stop a process from starting: it is not ready, says why,
and gets ready by itself.
"""

import asyncio
from collections import Counter

import httpx

from tests.client import Client, run
from tests.healthcheck.test_server_full import fillers, small_database  # noqa: F401  # fixtures
from tests.people import sign_in
from tests.sampling import Sampler
from tests.service import wait_until


def test_a_process_that_starts_at_a_full_server_gets_ready_when_there_is_room(
    start,
    small_database,  # noqa: F811
    fillers,  # noqa: F811
):
    fillers.take_all()
    web = start("web", small_database, ready=False)
    wait_until(lambda: reason(web) == "server_refused", 20, "it says why it is not ready")
    assert web.get("/health/ready").status_code == 503
    assert web.get("/health/live").status_code == 200
    assert web.health()["faults"]["server_refused"] >= 1
    answer = web.join("early@example.com")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    fillers.leave()
    wait_until(web.is_ready, 5, "it is ready")
    assert web.join("ada@example.com").status_code == 202
    wait_until(lambda: web.health()["pools"]["orm"]["idle"] >= 1, 10, "the ORM pool has connections")


def reason(web) -> str | None:
    try:
        return str(web.get("/health/ready").json().get("reason"))
    except httpx.HTTPError:
        return None


def test_three_hundred_callers_at_once_get_no_more_connections_than_the_pool_has(web, database):
    cookie = sign_in(web, database)

    async def fan_out() -> Counter[int]:
        async def one() -> int:
            async with Client(web.url) as client:
                answer = await client.request("GET", "/admin/waitlist/entry/", headers={"Cookie": cookie})
                assert answer.status == 200 or answer.headers["retry-after"]
                return answer.status

        return Counter(await asyncio.gather(*(one() for _ in range(300))))

    with Sampler(database.superuser_url, database.name) as sampler:
        statuses = run(fan_out())
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 8, "as many as there are threads, and more where there is time"
    assert sampler.most_open["roadmap_agent/web/orm"] <= 24
    assert web.health()["faults"]["server_refused"] == 0
