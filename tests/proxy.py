"""A TCP proxy on loopback: it takes the time of every connection, and can make connecting slow, or the way long."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

CHUNK = 65536
MOST_ON_THE_WAY = 1000  # pieces, each way of a connection


@dataclass
class Proxy:
    """Passes everything on to one address.

    Attributes:
        delay: seconds that a new connection waits before it is passed on.
        latency: seconds that every byte takes, each way; those behind it do not wait for it.
        opened: how many connections it was asked for.
        seconds: how long each was open, in the order in which they came; it is None while it is open.
    """

    host: str
    port: int
    delay: float = 0.0
    latency: float = 0.0
    seconds: list[float | None] = field(default_factory=list)
    own_port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def opened(self) -> int:
        return len(self.seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.own_port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self.cut()

    async def cut(self) -> None:
        """End every connection, as a network does that has seen them idle for too long."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        started, number = time.monotonic(), len(self.seconds)
        self.seconds.append(None)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            await self._pass_on(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            return  # as one end goes, so does the other
        finally:
            writer.close()
            self.seconds[number] = time.monotonic() - started
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self.host, self.port)
        copies = [
            asyncio.create_task(_copy(reader, there_writer, self.latency)),
            asyncio.create_task(_copy(there_reader, writer, self.latency)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there_writer.close()  # first: what follows may be cancelled
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    if latency:
        await _copy_later(reader, writer, latency)
        return
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _copy_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float) -> None:
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MOST_ON_THE_WAY)

    async def arrive() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(arrive())
        data = b"the first"
        while data:
            data = await reader.read(CHUNK)
            await on_the_way.put((loop.time() + latency, data))
