"""An HTTP/1.1 client for load: keep-alive over asyncio's streams, and any bytes that a test wants to send.

httpx costs more than what it measures here.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import uvloop

API = "/api/v1/waitlist"
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float  # from the first byte sent to the last one read


class Client:
    """One connection to a server; it is opened when it is needed and missing."""

    def __init__(self, url: str):
        address = urlsplit(url)
        self.host = address.hostname or "127.0.0.1"
        self.port = address.port or 80
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises one of `GONE` when the server ends the connection before its answer is complete."""
        lines = {"Host": f"localhost:{self.port}", "Content-Length": str(len(body)), **(headers or {})}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        return await self.send(head.encode("latin-1") + b"\r\n" + body)

    async def join(self, email: str, source: str = "") -> Answer:
        body = json.dumps({"email": email, "source": source}).encode()
        return await self.request("POST", API, body, {"Content-Type": "application/json"})

    async def send(self, *pieces: bytes, pause: float = 0.0) -> Answer:
        """Send what is given as it is, `pause` seconds apart, and read one answer, even before all is sent."""
        started = time.monotonic()
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
            sending = asyncio.create_task(_write(self._writer, pieces, pause))
            try:
                return await self._read(started, is_head=pieces[0].startswith(b"HEAD "))
            finally:
                sending.cancel()
        except GONE:
            self.close()
            raise

    async def _read(self, started: float, *, is_head: bool) -> Answer:
        assert self._reader is not None
        status = 100
        while status == 100:  # only says that the body may come
            first, *rest = (await self._reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
            status = int(first.split(" ", 2)[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        if is_head or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in self._chunks()])
        elif "content-length" in headers:
            body = await self._reader.readexactly(int(headers["content-length"]))
        else:
            body = await self._reader.read()
            self.close()
        if headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body, time.monotonic() - started)

    async def _chunks(self) -> AsyncIterator[bytes]:
        assert self._reader is not None
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            yield await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()


async def _write(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...], pause: float) -> None:
    for number, piece in enumerate(pieces):
        if number and pause:
            await asyncio.sleep(pause)
        writer.write(piece)


async def join_all(url: str, emails: Iterable[str], clients: int) -> dict[str, Answer | None]:
    """The answer to each join, shared out over so many connections; None where the connection was lost."""
    remaining = iter(emails)
    answers: dict[str, Answer | None] = {}

    async def one_after_the_other() -> None:
        async with Client(url) as client:
            for email in remaining:
                try:
                    answers[email] = await client.join(email)
                except GONE:
                    answers[email] = None

    await asyncio.gather(*(one_after_the_other() for _ in range(clients)))
    return answers


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on the loop that the server has."""
    return uvloop.run(main)
