"""The web's own way with HTTP: the very bytes of uvicorn, refusals at once, and idle connections closed."""

import asyncio
import contextlib
import gc
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from roadmap.server import http
from roadmap.server.gunicorn_worker import StreamingServer, Worker
from roadmap.server.http import ServerProtocol
from roadmap.server.refusals import LONGEST, Refusal, Telling
from tests.service import free_port, wait_until

BODY = b"hello world"
HEADERS = ((b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode()))
CLOSING = (*HEADERS, (b"connection", b"close"))
REFUSAL = Refusal(503, (*HEADERS, (b"retry-after", b"1")), BODY)


class Application:
    """`/tuple…` answers with a tuple of headers, every other path with a list; `/…wait` when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.full = False

    def is_full(self) -> bool:
        return self.full

    def refusal(self, told: Telling) -> Refusal | None:
        return REFUSAL if told.path == b"/page" else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        if scope["path"].endswith("wait"):
            await self.go.wait()
        headers: Any = CLOSING if scope["path"].endswith("close") else HEADERS
        if not scope["path"].startswith("/tuple"):
            headers = list(headers)
        status = 200 if size == 0 else 202
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else BODY})


@contextlib.asynccontextmanager
async def serving(protocol: type[HttpToolsProtocol], **config: Any) -> AsyncIterator[tuple[Application, int]]:
    application, port = Application(), free_port()
    config = {**Worker.CONFIG_KWARGS, "lifespan": "off", "port": port, "log_config": None, **config}
    config = {**config, "http": protocol, "loop": "none"}
    server = StreamingServer(uvicorn.Config(application, **config))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # they are the tests'
    task = asyncio.create_task(server.serve())
    await asyncio.to_thread(wait_until, lambda: server.started, 5, "it serves")
    try:
        yield application, port
    finally:
        application.go.set()
        server.should_exit = True
        await task


async def exchange(port: int, *pieces: bytes) -> bytes:
    """What comes back for `pieces`, sent one after the other, until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02 if len(pieces) > 1 else 0)
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def request(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([line, "Host: localhost", *headers, "", body]).encode()


LAST = request("GET /last-close HTTP/1.1")
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
