"""The web's own way with HTTP: the very bytes of uvicorn, and connections that are idle or slow are closed."""

import asyncio
import contextlib
import gc
import re

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from roadmap.server import http
from roadmap.server.http import ServerProtocol
from tests.roadmap.http_server import BODY, LAST, exchange, request, serving
from tests.service import wait_until

REQUESTS = {
    "get": [request("GET /tuple HTTP/1.1") + LAST],
    "head": [request("HEAD /tuple HTTP/1.1") + LAST],
    "post": [request("POST /tuple HTTP/1.1", "Content-Length: 5", body="12345") + LAST],
    "post in pieces": [
        request("POST /tuple HTTP/1.1", "Content-Length: 5", body="12"),
        b"345" + LAST,
    ],
    "post in chunks": [
        request("POST /tuple HTTP/1.1", "Transfer-Encoding: chunked", body="2\r\n12\r\n"),
        b"3\r\n345\r\n0\r\n\r\n" + LAST,
    ],
    "many in one piece": [request("GET /tuple HTTP/1.1") * 5 + request("GET /list HTTP/1.1") * 5 + LAST],
    "hundreds in one piece": [request("GET /tuple HTTP/1.1") * 500 + LAST],
    "one that asks to continue": [
        request("POST /tuple HTTP/1.1", "Content-Length: 5", "Expect: 100-continue"),
        b"12345" + LAST,
    ],
    "HTTP/1.0": [request("GET /tuple HTTP/1.0")],
    "a client that closes": [request("GET /tuple HTTP/1.1", "Connection: close")],
    "an answer that closes": [request("GET /tuple-close HTTP/1.1") + request("GET /tuple HTTP/1.1")],
    "an escaped path": [request("GET /tuple%20%C3%A4?a=%20 HTTP/1.1") + LAST],
    "an upgrade that nobody knows": [
        request("GET /tuple HTTP/1.1", "Connection: Upgrade, close", "Upgrade: websocket")
    ],
    "no HTTP": [b"hello\r\n\r\n"],
    "no HTTP behind a request": [request("GET /tuple HTTP/1.1"), b"hello\r\n\r\n"],
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_bytes_are_those_that_uvicorn_would_have_sent(name):
    async def both() -> list[tuple[bytes, list[str]]]:
        answers = []
        for protocol in (HttpToolsProtocol, ServerProtocol):
            async with serving(protocol) as (application, port):
                answer = await exchange(port, *REQUESTS[name])
                answers.append((re.sub(rb"date: [^\r]+", b"date: today", answer), application.asked))
        return answers

    uvicorns, ours = asyncio.run(both())
    assert ours == uvicorns
    assert ours[0].startswith(b"HTTP/1.1 ")


def test_a_connection_kept_alive_is_closed_when_it_has_been_idle_for_long():
    async def ask() -> tuple[float, int]:
        async with serving(ServerProtocol, timeout_keep_alive=1) as (application, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            busy_reader, busy_writer = await asyncio.open_connection("127.0.0.1", port)
            busy_writer.write(request("GET /wait HTTP/1.1"))
            loop = asyncio.get_running_loop()
            writer.write(request("GET /tuple HTTP/1.1"))
            await reader.readuntil(BODY)
            began = loop.time()
            assert await asyncio.wait_for(reader.read(), 10) == b""
            took = loop.time() - began
            application.go.set()
            answered = len(await asyncio.wait_for(busy_reader.readuntil(BODY), 5))
            for one in (writer, busy_writer):
                one.close()
            return took, answered

    took, answered = asyncio.run(ask())
    assert 1 <= took < 7
    assert answered, "one that waits for its answer is left alone"


def test_a_head_without_an_end_is_refused_and_one_that_is_slow_is_closed(monkeypatch):
    monkeypatch.setattr(http, "HEAD_SECONDS", 1.0)

    async def ask() -> tuple[bytes, float, float, bytes]:
        async with serving(ServerProtocol) as (_, port):
            loop = asyncio.get_running_loop()
            endless_reader, endless = await asyncio.open_connection("127.0.0.1", port)
            endless.write(b"GET /tuple HTTP/1.1\r\n")
            for _ in range(http.MOST_HEAD // 1024 + 1):
                await asyncio.sleep(0.005)
                endless.write(b"x: " + b"y" * 1019 + b"\r\n")
            refusal = await asyncio.wait_for(endless_reader.read(), 5)
            began = loop.time()
            silent_reader, silent = await asyncio.open_connection("127.0.0.1", port)
            slow_reader, slow = await asyncio.open_connection("127.0.0.1", port)
            slow.write(b"GET /tuple HTTP/1.1\r\nHost: loc")
            seconds = []
            for reader in (silent_reader, slow_reader):
                assert await asyncio.wait_for(reader.read(), 10) == b""
                seconds.append(loop.time() - began)
            whole = await exchange(port, b"GET /last-close HTTP/1.1\r\n", b"Host: localhost\r\n\r\n")
            for writer in (endless, silent, slow):
                writer.close()
            return refusal, *seconds, whole

    refusal, silent, slow, whole = asyncio.run(ask())
    assert refusal.startswith(b"HTTP/1.1 431 ")
    assert 1 <= silent < 7
    assert 1 <= slow < 7
    assert whole.startswith(b"HTTP/1.1 200 ")


def in_chunks(line: str) -> bytes:
    """Up to the end of its body; what follows is the trailer."""
    return request(line, "Transfer-Encoding: chunked", body="2\r\n12\r\n0\r\n")


def test_what_follows_a_body_in_chunks_is_no_header():
    """Whoever judges the head, a proxy for one, has not seen it."""

    async def ask() -> tuple[bytes, list[tuple[bytes, bytes]]]:
        async with serving(ServerProtocol) as (application, port):
            trailer = b"X-Forwarded-For: 6.6.6.6\r\nAuthorization: Bearer x\r\n\r\n"
            return await exchange(
                port, in_chunks("POST /tuple-close HTTP/1.1") + trailer
            ), application.headers

    answer, headers = asyncio.run(ask())
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert [name for name, _ in headers] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("line", [b"x: " + b"y" * 1019 + b"\r\n", b"y" * 1024], ids=["fields", "one field"])
def test_a_trailer_without_an_end_is_closed(line):
    async def ask() -> int:
        async with serving(ServerProtocol) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(in_chunks("POST /tuple HTTP/1.1") + b"z: ")
            sent = 0
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof() and sent < 100 * http.MOST_HEAD:
                    writer.write(line)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                    sent += len(line)
            writer.close()
            return sent

    assert asyncio.run(ask()) < 10 * http.MOST_HEAD


def test_chunks_may_be_many_and_late():
    async def ask() -> bytes:
        async with serving(ServerProtocol) as (_, port):
            chunks = [b"400\r\n" + b"x" * 1024 + b"\r\n"] * (2 * http.MOST_HEAD // 1024)
            first = request("POST /tuple HTTP/1.1", "Transfer-Encoding: chunked")
            return await exchange(
                port, first, b"".join(chunks), chunks[0][:3], chunks[0][3:], b"0\r\n\r\n" + LAST
            )

    assert re.findall(rb"HTTP/1.1 (\d+)", asyncio.run(ask())) == [b"202", b"200"]


def test_who_is_at_work_hears_that_its_client_has_left_also_with_another_request_behind_it():
    async def ask() -> list[str]:
        async with serving(ServerProtocol) as (application, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("GET /gone HTTP/1.1") + request("GET /tuple HTTP/1.1"))
            await asyncio.to_thread(wait_until, lambda: application.asked, 5, "it is at work")
            writer.close()
            await asyncio.wait_for(application.gone.wait(), 5)
            return application.asked

    assert asyncio.run(ask()) == ["/gone"]


def test_a_head_without_an_end_behind_a_request_at_work_gets_no_answer_before_it():
    async def ask() -> bytes:
        async with serving(ServerProtocol) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request("GET /wait HTTP/1.1") + b"GET /tuple HTTP/1.1\r\n")
            for _ in range(http.MOST_HEAD // 1024 + 1):  # one less would be taken
                await asyncio.sleep(0.005)
                writer.write(b"x: " + b"y" * 1019 + b"\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer

    assert asyncio.run(ask()) == b""


def test_a_request_leaves_nothing_to_the_search_for_garbage():
    """Thousands a second would have it look through everything again and again, and all wait meanwhile."""

    async def ask() -> int:
        async with serving(ServerProtocol) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

            async def one() -> None:
                writer.write(request("POST /tuple HTTP/1.1", "Content-Length: 5", body="12345"))
                await reader.readuntil(BODY)

            await one()
            gc.collect()
            gc.disable()
            try:
                for _ in range(100):
                    await one()
                return gc.collect()
            finally:
                gc.enable()
                writer.close()

    assert asyncio.run(ask()) < 100, "less than one object for each request"
