"""Readers of streams: `python -m tests.load.readers HOST:PORT`, with a JSON list of ids and tokens as a line of input.

It opens a stream for each, so many at a time, and prints a line when all are open. When its input ends, it prints one
JSON object: how long each step was on its way, in seconds from before it was recorded, and what went wrong.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque
from typing import Any

import uvloop

OPENING = 64  # at a time
AGAIN = 1.0  # seconds after which who was refused comes back, as Retry-After says
PATIENCE = 180.0  # seconds until all must be open
BEGAN = re.compile(rb'"began": ([0-9.]+)')
NUMBER = re.compile(rb"^id: (\d+)$", re.MULTILINE)
OPEN, REFUSED = b"HTTP/1.1 200 ", b"HTTP/1.1 503 "


class Readers:
    """All of them, and what they have had."""

    def __init__(self, address: str, streams: list[tuple[str, str]]):
        self.address = address
        self.to_open = deque(streams)
        self.count = len(streams)
        self.opened = 0
        self.refused = 0
        self.lost = 0  # streams that ended
        self.out_of_turn = 0  # steps that were doubled, or came after one that is missing
        self.seconds: list[float] = []
        self.all_open = asyncio.Event()
        self.wrong: str | None = None

    def next(self) -> None:
        if self.to_open:
            Reader(self, *self.to_open.popleft()).connect()

    def opened_one(self) -> None:
        self.opened += 1
        if self.opened == self.count:
            self.all_open.set()
        self.next()

    def refused_one(self, roadmap_id: str, token: str) -> None:
        self.refused += 1
        self.to_open.append((roadmap_id, token))
        asyncio.get_running_loop().call_later(AGAIN, self.next)

    def fail(self, what: str) -> None:
        self.wrong = what
        self.all_open.set()


class Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, readers: Readers, roadmap_id: str, token: str):
        self.readers = readers
        self.roadmap_id, self.token = roadmap_id, token
        self.received = b""
        self.reading = False
        self.number = 0
        self.transport: Any = None

    def connect(self) -> None:
        self.connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        host, _, port = self.readers.address.partition(":")
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, host, int(port))
        except OSError as error:
            self.readers.fail(f"a connection failed: {error}")

    def connection_made(self, transport: Any) -> None:  # uvloop's own class, which is none of asyncio's
        self.transport = transport
        transport.write(
            f"GET /api/v1/roadmaps/{self.roadmap_id}/events HTTP/1.1\r\nHost: {self.readers.address}\r\n"
            f"Authorization: Bearer {self.token}\r\nAccept: text/event-stream\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.received += data
        if not self.reading:
            if b"\r\n\r\n" not in self.received:
                return
            self._begin()
        # Chunks and events are no more than lines between the ones that are looked for.
        whole, separator, self.received = self.received.rpartition(b"\n\n")
        if not separator:
            return
        for number in NUMBER.findall(whole):
            self.readers.out_of_turn += int(number) != self.number + 1
            self.number = int(number)
        self.readers.seconds += [now - float(began) for began in BEGAN.findall(whole)]

    def _begin(self) -> None:
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        if head.startswith(OPEN):
            self.reading = True
            self.readers.opened_one()
        elif head.startswith(REFUSED):
            self.transport.abort()
            self.readers.refused_one(self.roadmap_id, self.token)
        else:
            self.readers.fail(f"a stream was answered with {head.decode()}")

    def connection_lost(self, error: Exception | None) -> None:
        if self.reading:
            self.readers.lost += 1


async def read(address: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    streams = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    readers = Readers(address, streams)
    for _ in range(min(OPENING, len(streams))):
        readers.next()
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        await readers.all_open.wait()
    if readers.wrong:
        raise RuntimeError(readers.wrong)
    print(f"open after {time.monotonic() - began:.1f} s", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    return {
        "seconds": readers.seconds,
        "lost": readers.lost,
        "out_of_turn": readers.out_of_turn,
        "refused": readers.refused,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(read(sys.argv[1]))))
