"""The web's way with HTTP in front of a small application, and bytes to send to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from roadmap.server.gunicorn_worker import StreamingServer, Worker
from roadmap.server.refusals import Refusal, Telling
from tests.service import free_port, wait_until

BODY = b"hello world"
HEADERS = ((b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode()))
CLOSING = (*HEADERS, (b"connection", b"close"))
REFUSAL = Refusal(503, (*HEADERS, (b"retry-after", b"1")), BODY)


class Application:
    """`/tuple…` answers with a tuple of headers, every other path with a list; `/…wait` when `go` is set.

    `/…gone` sets `gone` when its client leaves.
    """

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.gone = asyncio.Event()
        self.asked: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []  # of the last request
        self.full = False

    def is_full(self) -> bool:
        return self.full

    def refusal(self, told: Telling) -> Refusal | None:
        return REFUSAL if told.path == b"/page" else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.headers = scope["headers"]
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        if scope["path"].endswith("wait"):
            await self.go.wait()
        if scope["path"].endswith("gone"):
            while message["type"] != "http.disconnect":
                message = await receive()
            self.gone.set()
            return
        headers: Any = CLOSING if scope["path"].endswith("close") else HEADERS
        if not scope["path"].startswith("/tuple"):
            headers = list(headers)
        status = 200 if size == 0 else 202
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})


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
