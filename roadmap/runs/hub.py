"""The feeds of roadmaps: what is announced is read once, and handed to every stream that waits for it.

A stream holds no connection and no thread meanwhile. Nothing piles up for a slow reader: it takes what is new from its
feed, or from the rows, when it comes to it.
"""

import asyncio
import contextlib
import json
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial

from healthcheck import pools, watch
from healthcheck.asgi import Scope
from roadmap.accounts import BadToken, person_of
from roadmap.models import Event, Roadmap
from roadmap.runs.events import CHANNEL
from roadmap.runs.patience import patiently
from roadmap.server.threads import Full, Threads

OPENINGS = 3  # that ask the database at once; after a deploy thousands come back, and pages need threads too
RECENT = 100  # events that a feed keeps for its streams; what is older is read again

Numbered = tuple[int, bytes]


class Feed:
    """One roadmap's newest events, for all its streams.

    Attributes:
        read: the number of the newest event that it has had.
        stale: there may be newer ones.
    """

    def __init__(self, roadmap_id: uuid.UUID, read: int):
        self.roadmap_id = roadmap_id
        self.read = read
        self.stale = False
        self.streams: set[Stream] = set()
        self.reading: asyncio.Task[None] | None = None
        self._before = read  # the number before the oldest that it keeps
        self._recent: deque[Numbered] = deque()

    def add(self, events: list[Numbered]) -> None:
        for event in events:
            self._recent.append(event)
            self.read = event[0]
            if len(self._recent) > RECENT:
                self._before = self._recent.popleft()[0]
        for stream in self.streams:
            stream.wake()

    def after(self, number: int) -> list[Numbered] | None:
        """The events after that one; None if some of them are kept no more."""
        if number < self._before:
            return None
        return [event for event in self._recent if event[0] > number]


class Stream:
    """One reader's place. `wake()` ends its wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None


class Hub:
    """All streams of one process."""

    def __init__(self, threads: Threads):
        self.threads = threads
        self.ending = False
        self._openings = asyncio.Semaphore(OPENINGS)
        self._feeds: dict[uuid.UUID, Feed] = {}

    def gauge(self) -> dict[str, int]:
        return {"open": sum(len(feed.streams) for feed in self._feeds.values()), "roadmaps": len(self._feeds)}

    def heard(self, payload: str | None) -> None:
        """An announcement; None says that some may have been missed."""
        if payload is None:
            for feed in self._feeds.values():
                self._refresh(feed)
        elif feed := self._feeds.get(uuid.UUID(payload.split()[0])):  # type: ignore[assignment]
            self._refresh(feed)

    @contextlib.contextmanager
    def joined(self, roadmap_id: uuid.UUID, number: int) -> Iterator[tuple[Stream, Feed]]:
        """A stream that has had the events up to `number`, and its feed."""
        feed = self._feeds.get(roadmap_id)
        if feed is None:
            feed = self._feeds[roadmap_id] = Feed(roadmap_id, number)
            self._refresh(feed)  # for what came since the stream looked
        stream = Stream()
        feed.streams.add(stream)
        try:
            yield stream, feed
        finally:
            feed.streams.discard(stream)
            if not feed.streams:
                self._feeds.pop(roadmap_id, None)

    def end(self) -> None:
        """End all streams, because the process does; their readers come back to another."""
        self.ending = True
        for feed in self._feeds.values():
            for stream in feed.streams:
                stream.wake()

    async def find(
        self, roadmap_id: uuid.UUID, number: int, scope: Scope
    ) -> tuple[int, list[Numbered]] | None:
        """What a stream that has had the events up to `number` begins with; None if its reader has no such roadmap.

        Raises:
            BadToken: nobody asks, or somebody unknown.
        """
        async with self._openings:
            while True:
                try:
                    person = await person_of(scope, self.threads)
                    break
                except Full:
                    await asyncio.sleep(0.2)  # pages go first
            if person is None:
                raise BadToken
            found: tuple[int, list[Numbered]] | None
            found = await self.threads.submit(partial(read_owned, roadmap_id, person, number), must=True).done
            return found

    async def after(self, roadmap_id: uuid.UUID, number: int) -> list[Numbered]:
        """The events after that one, from the rows."""

        async def read() -> list[Numbered]:
            found: list[Numbered] = await self.threads.submit(
                partial(read_events, roadmap_id, number), must=True
            ).done
            return found

        return await patiently("a stream", read)

    def _refresh(self, feed: Feed) -> None:
        feed.stale = True
        if feed.reading is None or feed.reading.done():
            feed.reading = asyncio.create_task(self._read(feed), name="read events")

    async def _read(self, feed: Feed) -> None:
        while feed.stale and feed.streams:
            feed.stale = False
            feed.add(await self.after(feed.roadmap_id, feed.read))


_current: Hub | None = None


def current() -> Hub | None:
    """This process's hub, if it is open."""
    return _current


@contextlib.asynccontextmanager
async def opened(threads: Threads) -> AsyncIterator[Hub]:
    """This process's hub, for as long as the block; the watch tells it what is announced."""
    global _current
    hub = _current = Hub(threads)
    watch.subscribe(CHANNEL, hub.heard)
    pools.announce_gauge("streams", hub.gauge)
    try:
        yield hub
    finally:
        _current = None
        watch.unsubscribe(CHANNEL)
        pools.withdraw("streams")
        hub.end()


def end_all() -> None:
    """End this process's streams: it is being shut down, and its server waits for them."""
    if _current is not None:
        _current.end()


def read_events(roadmap_id: uuid.UUID, number: int) -> list[Numbered]:
    found = Event.objects.filter(roadmap=roadmap_id, number__gt=number).order_by("number")
    return [
        (number, f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        for number, kind, data in found.values_list("number", "kind", "data")
    ]


def read_owned(roadmap_id: uuid.UUID, person: int, number: int) -> tuple[int, list[Numbered]] | None:
    """That number, or the newest there is, and the events after it; None if this person has no such roadmap."""
    found = Roadmap.objects.filter(pk=roadmap_id, owner=person)
    newest = found.values_list("last_event", flat=True).first()
    if newest is None:
        return None
    number = min(number, newest)
    return number, read_events(roadmap_id, number)
