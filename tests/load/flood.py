"""A client for more than a server can take: `python -m tests.load.flood HOST:PORT KIND CONNECTIONS RATE SECONDS`.

wrk knows neither how long each status took nor a rate, so this one is ours: each connection sends its next request
when its last one is answered, or, with a RATE (requests per second of all together, 0: none), when its turn comes,
if that is later. A join's time begins before its connection is made. It prints one JSON object.
"""

import asyncio
import json
import secrets
import sys
import time
from itertools import count
from typing import Any

import uvloop

RECONNECT = 0.1  # seconds until a connection that was closed or refused is made again
LAST_ANSWERS = 10.0  # seconds that answers may take after the last request was sent


class Flood:
    """All the callers, and what they were answered."""

    def __init__(self, address: str, kind: str, connections: int, rate: float, seconds: float):
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.kind = kind
        self.connections = connections
        self.interval = connections / rate if rate else 0.0
        self.run = secrets.token_hex(4)
        self.numbers = count()
        self.ends = time.monotonic() + seconds
        self.waiting = 0
        self.sent = 0
        self.broken = 0
        self.bare = 0  # refusals without Retry-After
        self.good = 0  # successes before the end
        self.times: dict[str, list[float]] = {}

    def request(self) -> bytes:
        number = next(self.numbers)
        head = (
            f"Host: {self.host}:{self.port}\r\nX-Forwarded-For: 10.9.{number >> 8 & 255}.{number & 255}\r\n"
            "Accept-Encoding: gzip\r\nAccept-Language: en\r\n"
        )
        if self.kind != "join":
            return f"GET {self.kind} HTTP/1.1\r\n{head}\r\n".encode()
        body = f'{{"email":"{self.run}-{number}@example.com"}}'
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST /api/v1/waitlist HTTP/1.1\r\n{head}\r\n{body}".encode()

    async def go(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for number in range(self.connections):
            loop.call_later(number / self.connections * self.interval, Caller(self, loop).connect)
        # No event tells that all is answered: setting one for each answer would cost the callers time.
        while time.monotonic() < self.ends or (self.waiting and time.monotonic() < self.ends + LAST_ANSWERS):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return {
            "sent": self.sent,
            "broken": self.broken,
            "unanswered": self.waiting,
            "bare": self.bare,
            "good": self.good,
            "statuses": {status: summary(times) for status, times in sorted(self.times.items())},
        }


def summary(times: list[float]) -> dict[str, float]:
    times.sort()
    return {
        "count": len(times),
        "p50": times[len(times) // 2],
        "p99": times[min(len(times) - 1, len(times) * 99 // 100)],
        "slowest": times[-1],
    }


class Caller(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, flood: Flood, loop: asyncio.AbstractEventLoop):
        self.flood = flood
        self.loop = loop
        self.transport: Any = None
        self.began = 0.0  # of the request that waits for its answer, 0: none does
        self.turn = 0.0
        self.received = b""

    def connect(self) -> None:
        self.connecting = self.loop.create_task(self._connect())

    async def _connect(self) -> None:
        if time.monotonic() >= self.flood.ends:
            return
        self._begin()
        try:
            await self.loop.create_connection(lambda: self, self.flood.host, self.flood.port)
        except OSError:
            self.connection_lost(None)

    def connection_made(self, transport: Any) -> None:  # uvloop's own class, which is none of asyncio's
        self.transport = transport
        transport.write(self.flood.request())

    def _begin(self) -> None:
        self.began = time.monotonic()
        self.turn = max(self.began, self.turn + self.flood.interval) if self.turn else self.began
        self.flood.sent += 1
        self.flood.waiting += 1

    def _send(self) -> None:
        if self.transport is None or time.monotonic() >= self.flood.ends:
            return
        self._begin()
        self.transport.write(self.flood.request())

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.received[:end].lower()
        _, _, length = head.partition(b"\r\ncontent-length: ")
        if len(self.received) < end + 4 + int(length.partition(b"\r\n")[0]):
            return
        self.received = b""
        self._answered(head)

    def _answered(self, head: bytes) -> None:
        now = time.monotonic()
        self.flood.times.setdefault(head[9:12].decode(), []).append(now - self.began)
        self.flood.waiting -= 1
        self.began = 0.0
        if head[9:10] in b"23" and now < self.flood.ends:
            self.flood.good += 1
        if head[9:12] == b"503" and b"\r\nretry-after: " not in head:
            self.flood.bare += 1
        if b"\r\nconnection: close" in head:
            return  # and `connection_lost` makes a new one
        next_turn = self.turn + self.flood.interval
        if next_turn > now:
            self.loop.call_later(next_turn - now, self._send)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.received = b""
        if self.began:
            self.flood.broken += 1
            self.flood.waiting -= 1
            self.began = 0.0
        self.loop.call_later(RECONNECT, self.connect)


def main() -> None:
    address, kind, connections, rate, seconds = sys.argv[1:]
    flood = Flood(address, kind, int(connections), float(rate), float(seconds))
    print(json.dumps(uvloop.run(flood.go())))


if __name__ == "__main__":
    main()
