"""Who is refused whatever they ask: at once, in turn, and without an end of the connection."""

import asyncio
import contextlib
import re

import pytest

from roadmap.server.http import ServerProtocol
from roadmap.server.refusals import LONGEST, Telling
from tests.roadmap.http_server import BODY, LAST, REFUSAL, exchange, request, serving


def test_a_refusal_needs_no_application_and_keeps_the_connection():
    async def ask() -> tuple[bytes, list[str]]:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            body = request("POST /page HTTP/1.1", "Content-Length: 5", body="12345")
            parts = [request("GET /page HTTP/1.1"), body, request("HEAD /page HTTP/1.1")]
            return await exchange(port, b"".join(parts), LAST), application.asked

    answer, asked = asyncio.run(ask())
    assert [line for line in answer.split(b"\r\n") if b"HTTP/1.1 " in line] == [
        b"HTTP/1.1 503 Service Unavailable",
        BODY + b"HTTP/1.1 503 Service Unavailable",
        BODY + b"HTTP/1.1 503 Service Unavailable",
        b"HTTP/1.1 200 OK",
    ]
    assert answer.count(b"retry-after: 1\r\n") == 3
    assert answer.count(BODY) == 3, "none for HEAD"
    assert asked == ["/last-close"]


def test_a_refusal_is_told_what_it_depends_on_and_nothing_else():
    told: list[Telling] = []
    long = "x" * 1000

    async def ask() -> bytes:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            application.refusal = lambda one: told.append(one) or REFUSAL  # type: ignore[method-assign]
            headers = ["ACCEPT-Language:  de", "Accept-Language: en", "X-Forwarded-Proto: https"]
            first = request("GET /page?a=b HTTP/1.1", *headers, "X-Forwarded-Proto: http")
            second = request(f"GET /{long} HTTP/1.1", f"Accept-Language: {long}", "Connection: close")
            return await exchange(port, first + second)

    assert asyncio.run(ask()).count(BODY) == 2
    first, second = told
    assert first == Telling(b"/page", "http", b"de", b"https,http")
    assert (len(second.path), len(second.accept_language), second.forwarded_proto) == (LONGEST, LONGEST, b"")


def test_the_body_of_a_refused_request_is_no_request():
    async def ask() -> tuple[bytes, list[str]]:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            inner = request("GET /page HTTP/1.1").decode()
            outer = request("POST /page HTTP/1.1", f"Content-Length: {len(inner)}")
            return await exchange(port, outer, inner.encode(), LAST), application.asked

    answer, asked = asyncio.run(ask())
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"503", b"200"]
    assert asked == ["/last-close"]


@pytest.mark.parametrize("line", ["GET /page HTTP/1.0", "GET /page HTTP/1.1"])
def test_a_refused_client_that_wants_to_close_is_closed(line):
    async def ask() -> bytes:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(line, *(["Connection: close"] if line.endswith("1.1") else [])))
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer

    answer = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nconnection: close\r\n" in answer


def test_answers_come_in_the_order_of_their_requests_also_when_a_later_one_would_be_refused():
    async def ask() -> tuple[bytes, list[str]]:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            application.go.set()
            return await exchange(
                port, request("GET /wait HTTP/1.1") + request("GET /page HTTP/1.1") + LAST
            ), application.asked

    answer, asked = asyncio.run(ask())
    assert answer.count(BODY) == 3
    assert asked == ["/wait", "/page", "/last-close"], "in a queue behind another, it is the application's"


def test_who_reads_no_answers_cannot_fill_the_memory_with_refusals():
    async def ask() -> int:
        async with serving(ServerProtocol) as (application, port):
            application.full = True
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            many = request("GET /page HTTP/1.1") * 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    while True:
                        writer.write(many)
                        await writer.drain()
            unsent = writer.transport.get_write_buffer_size()
            writer.transport.abort()
            return unsent

    assert asyncio.run(ask()) > 0, "the server has stopped to read"
