"""Requests that no browser sends, byte by byte: odd lengths, chunks, methods, types, hosts; slow and cut bodies."""

import asyncio
import json

import pytest

from tests.client import API, Answer, Client, run
from tests.service import query, wait_until

DEADLINE = 2.0


def head(*lines: str, path: str = API, method: str = "POST", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: localhost", *lines, "", ""]).encode("latin-1")


GOOD = b'{"email": "good@example.com"}'
TYPE = "Content-Type: application/json"
LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKS = b"5\r\n" + GOOD[:5] + b"\r\n" + b"%x\r\n" % (len(GOOD) - 5) + GOOD[5:] + b"\r\n0\r\n\r\n"
MANY_CHUNKS = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
REQUESTS: dict[str, tuple[bytes, set[int]]] = {
    "chunked": (head(TYPE, "Transfer-Encoding: chunked") + CHUNKS, {202}),
    "a byte a chunk": (head(TYPE, "Transfer-Encoding: chunked") + MANY_CHUNKS, {202}),
    "HTTP/1.0": (head(TYPE, LENGTH, version="HTTP/1.0") + GOOD, {202}),
    "expects to be told to go on": (head(TYPE, LENGTH, "Expect: 100-continue") + GOOD, {202}),
    "type with a parameter": (head(f"{TYPE}; charset=utf-8", LENGTH) + GOOD, {202}),
    "type in capitals": (head("Content-Type: APPLICATION/JSON", LENGTH) + GOOD, {202}),
    "chunked and too long": (head(TYPE, "Transfer-Encoding: chunked") + b"1400\r\n" + b" " * 5120, {413}),
    "a huge length": (head(TYPE, "Content-Length: 99999999999999"), {413}),
    "a length past all numbers": (head(TYPE, "Content-Length: " + "9" * 40), {400, 413}),
    "5 KiB": (head(TYPE, "Content-Length: 5120") + b" " * 5120, {413}),
    "a negative length": (head(TYPE, "Content-Length: -5") + GOOD, {400}),
    "a word for a length": (head(TYPE, "Content-Length: many") + GOOD, {400}),
    "two lengths": (head(TYPE, LENGTH, "Content-Length: 3") + GOOD, {400}),
    "length and chunked": (head(TYPE, LENGTH, "Transfer-Encoding: chunked") + CHUNKS, {400, 202}),
    "bad chunks": (head(TYPE, "Transfer-Encoding: chunked") + b"zz\r\n", {400}),
    "no type": (head(LENGTH) + GOOD, {415}),
    "another type": (head("Content-Type: text/plain", LENGTH) + GOOD, {415}),
    "no ASCII in the type": (head("Content-Type: application/j\xf6n", LENGTH) + GOOD, {415}),
    "a form to the API": (head("Content-Type: application/x-www-form-urlencoded", LENGTH) + GOOD, {415}),
    "JSON to the page": (head(TYPE, LENGTH, path="/") + GOOD, {415}),
    "another host": (head(TYPE, LENGTH).replace(b"localhost", b"evil.example") + GOOD, {400}),
    "no host": (head(TYPE, LENGTH).replace(b"Host: localhost\r\n", b"") + GOOD, {202, 400}),
    "an impossible host": (head(TYPE, LENGTH).replace(b"localhost", b"a b/c@d") + GOOD, {400}),
    "no ASCII in the host": (head(TYPE, LENGTH).replace(b"localhost", b"\xff\xfe") + GOOD, {400}),
    "GET": (head(method="GET"), {405}),
    "HEAD": (head(method="HEAD"), {405}),
    "PUT": (head(TYPE, LENGTH, method="PUT") + GOOD, {405}),
    "DELETE": (head(method="DELETE"), {405}),
    "POST to the thanks": (head(TYPE, LENGTH, path="/thanks") + GOOD, {405}),
    "an unknown method": (head(method="BREW"), {400, 405}),
    "an unknown path below": (head(TYPE, LENGTH, path=f"{API}/more") + GOOD, {403, 404}),
    "a cross-site page": (head(TYPE, LENGTH, "Origin: https://evil.example") + GOOD, {403}),
    "no ASCII in the origin": (head(TYPE, LENGTH, "Origin: http://[\xff") + GOOD, {403}),
    "no ASCII in the language": (head(TYPE, LENGTH, "Accept-Language: \xff;q=x,*") + GOOD, {202}),
}


@pytest.fixture
def web(module_web):
    query(module_web.database_url, "DELETE FROM waitlist_entry RETURNING 1")
    return module_web


def stored(web) -> list[str]:
    return [row[0] for row in query(web.database_url, "SELECT normalised FROM waitlist_entry")]


async def send(url: str, *pieces: bytes, pause: float = 0.0) -> Answer:
    async with Client(url) as client:
        return await asyncio.wait_for(client.send(*pieces, pause=pause), 10)


@pytest.mark.parametrize("name", REQUESTS)
def test_an_odd_request_is_taken_or_refused_and_harms_nothing(name, web):
    request, statuses = REQUESTS[name]
    answer = run(send(web.url, request))
    assert answer.status in statuses, answer
    wait_until(lambda: web.health()["joins"]["backlog"] == 0, 2, "nothing is left in the backlog")
    assert stored(web) == (["good@example.com"] if answer.status == 202 else [])
    if answer.status != 202 and "problem" in answer.headers["content-type"] and answer.body:
        assert json.loads(answer.body)["status"] == answer.status
    assert web.join("next@example.com").status_code == 202


@pytest.mark.parametrize("path", ["/", API])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_slow_body_is_given_up_at_the_deadline(path, chunked, web):
    kind = "application/json" if path == API else "application/x-www-form-urlencoded"
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 30"
    pieces = [b"1\r\n \r\n" if chunked else b" "] * 20
    answer = run(send(web.url, head(f"Content-Type: {kind}", length, path=path), *pieces, pause=0.3))
    assert answer.status == 408
    assert DEADLINE <= answer.seconds <= DEADLINE + 0.5
    assert answer.headers["connection"] == "close"
    kind = "application/problem+json" if path == API else "text/html; charset=utf-8"
    assert answer.headers["content-type"] == kind


async def leave(port: int, *pieces: bytes, abort: bool) -> None:
    """Send, and go away without waiting for an answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)
    finally:
        writer.transport.abort() if abort else writer.close()


@pytest.mark.parametrize("abort", [False, True], ids=["closed", "reset"])
def test_who_leaves_in_the_middle_of_a_body_joins_nobody_and_is_counted(abort, web):
    before = web.health()["faults"]["client_gone"]

    async def many() -> None:
        request = head(TYPE, LENGTH) + GOOD[:-1]
        await asyncio.gather(*(leave(web.port, request, abort=abort) for _ in range(20)))

    run(many())
    wait_until(lambda: web.health()["faults"]["client_gone"] == before + 20, 3, "all are counted")
    assert stored(web) == []
    assert web.health()["status"] == "pass"


def test_who_leaves_after_the_body_may_be_joined_and_harms_nobody(web):
    async def many() -> None:
        await asyncio.gather(
            *(leave(web.port, head(TYPE, LENGTH) + GOOD, abort=n % 2 == 0) for n in range(50))
        )

    run(many())
    wait_until(lambda: web.health()["joins"]["backlog"] == 0, 2, "nothing is left in the backlog")
    assert set(stored(web)) <= {"good@example.com"}
    assert web.join("next@example.com").status_code == 202


def test_requests_sent_without_waiting_are_answered_in_their_order(web):
    async def pipelined() -> list[int]:
        async with Client(web.url) as client:
            requests = [
                head(TYPE, LENGTH) + GOOD,
                head(TYPE, "Content-Length: 2") + b"[]",
                head(TYPE, LENGTH) + GOOD,
            ]
            first = await client.send(b"".join(requests))
            return [first.status, *[(await client.send(b"")).status for _ in requests[1:]]]

    assert run(pipelined()) == [202, 400, 202]
    assert stored(web) == ["good@example.com"]
