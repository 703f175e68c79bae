"""Joins by group commit, through the running web server."""

import asyncio
from collections import Counter

import httpx

from tests.service import query


async def join_all(url: str, addresses: list[str]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=1000)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        return await asyncio.gather(
            *(client.post(f"{url}/api/v1/waitlist", json={"email": address}) for address in addresses)
        )


def test_a_join_is_answered_and_stored(web, database):
    answer = web.join("Ada@Example.com")
    assert answer.status_code == 202, answer.text
    assert answer.json()["success"] is True
    assert query(database.url, "SELECT email, normalised, source, language FROM waitlist_entry") == [
        ("Ada@Example.com", "ada@example.com", "", "en")
    ]


def test_a_thousand_at_once_of_whom_some_are_known(web, database):
    addresses = [f"person{n}@example.com" for n in range(700)]
    addresses += [f"PERSON{n}@Example.COM" for n in range(300)]
    answers = asyncio.run(join_all(web.url, addresses))
    assert Counter(answer.status_code for answer in answers) == {202: 1000}
    assert len({answer.content for answer in answers}) == 1
    assert query(database.url, "SELECT count(*) FROM waitlist_entry") == [(700,)]
