"""A reader of a roadmap's stream, small enough to have thousands of."""

import asyncio
import json
import time
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit


class Seen(NamedTuple):
    number: int
    kind: str
    data: dict[str, Any]
    at: float  # time.time()


class Reader:
    """One request; `seen` grows while `read()` runs."""

    def __init__(
        self, url: str, roadmap_id: str, token: str, last: int | None = None, after: int | None = None
    ):
        self.address = urlsplit(url)
        self.roadmap_id = roadmap_id
        self.token = token
        self.last = last
        self.query = "" if after is None else f"?after={after}"
        self.status = 0
        self.seen: list[Seen] = []
        self.comments = 0
        self.complete = False  # the server has ended the answer in order

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self.address.hostname, self.address.port)
        lines = [
            f"GET /api/v1/roadmaps/{self.roadmap_id}/events{self.query} HTTP/1.1",
            f"Host: localhost:{self.address.port}",
            f"Authorization: Bearer {self.token}",
        ]
        if self.last is not None:
            lines.append(f"Last-Event-ID: {self.last}")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except BaseException:
            self._writer.close()
            raise
        self.status = int(head.split()[1])
        self.headers = head.decode("latin-1").lower()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def read(self, until: int | None = None) -> None:
        """Read until the event of that number, or until the server ends the stream."""
        text = b""
        while size := int(await self._reader.readline() or b"0", 16):
            text += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
            while b"\n\n" in text:
                block, text = text.split(b"\n\n", 1)
                self._take(block.decode())
                if until is not None and self.seen and self.seen[-1].number >= until:
                    return
        self.complete = await self._reader.readline() == b"\r\n"

    def _take(self, block: str) -> None:
        if block.startswith(":"):
            self.comments += 1
        elif not block.startswith("retry:"):
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            data = json.loads(fields["data"])
            self.seen.append(Seen(int(fields["id"]), fields["event"], data, time.time()))

    @property
    def numbers(self) -> list[int]:
        return [seen.number for seen in self.seen]
