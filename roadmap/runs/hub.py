"""The feeds of roadmaps: what is announced is read once, and handed to every stream that waits for it.

A stream holds no connection and no thread meanwhile. Nothing piles up for a slow reader: it takes what is new from its
feed, or from the rows, when it comes to it.
"""

import asyncio
import contextlib
import logging
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import batched

from healthcheck import pools, watch
from roadmap.accounts import Sender
from roadmap.runs.events import CHANNEL
from roadmap.runs.patience import patiently
from roadmap.runs.rows import DELETED, SLICE, Found, Numbered, Reader, may_read, read_events, read_owned
from roadmap.server.threads import Full, Threads

OPENINGS = 3  # that ask the database at once; after a deploy thousands come back, and pages need threads too
MOST = 20_000  # streams of one process, open or waiting to be
MOST_OF_ONE = 50  # streams of one person on one process
RECENT = 100  # events that a feed keeps for its streams; what is older is read again
CHECK = 15.0  # seconds between two looks at whether those who read still may

logger = logging.getLogger(__name__)


class TooMany(Exception):
    """This person has as many streams as they may."""


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
    """One reader's place. `wake()` ends its wait, `end()` the stream."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.is_over = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None

    def wake(self, _: object = None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self) -> None:
        self.is_over = True
        self.wake()

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
        self._places = 0
        self._people: Counter[int] = Counter()

    def gauge(self) -> dict[str, int]:
        return {"open": sum(len(feed.streams) for feed in self._feeds.values()), "roadmaps": len(self._feeds)}

    def heard(self, payload: str | None) -> None:
        """An announcement; None says that some may have been missed. What nobody of ours announced is passed over."""
        if payload is None:
            for feed in self._feeds.values():
                self._refresh(feed)
            return
        name, _, what = payload.partition(" ")
        try:
            roadmap_id = uuid.UUID(name)
        except ValueError:
            return
        if roadmap_id not in self._feeds:
            return
        feed = self._feeds[roadmap_id]
        if what == DELETED:
            for stream in feed.streams:
                stream.end()
        else:
            self._refresh(feed)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Room for one stream, from before it is looked at until it ends.

        Raises:
            Full: there is none.
        """
        if self._places >= MOST:
            raise Full
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    @contextlib.contextmanager
    def joined(self, reader: Reader, number: int) -> Iterator[tuple[Stream, Feed]]:
        """A stream that has had the events up to `number`, and its feed.

        Raises:
            TooMany: its reader has enough.
        """
        if self._people[reader.person] >= MOST_OF_ONE:
            raise TooMany
        feed = self._feeds.get(reader.roadmap_id)
        if feed is None:
            feed = self._feeds[reader.roadmap_id] = Feed(reader.roadmap_id, number)
            self._refresh(feed)  # for what came since the stream looked
        stream = Stream(reader)
        feed.streams.add(stream)
        self._people[reader.person] += 1
        try:
            yield stream, feed
        finally:
            self._people[reader.person] -= 1
            if not self._people[reader.person]:
                del self._people[reader.person]
            feed.streams.discard(stream)
            if not feed.streams:
                self._feeds.pop(reader.roadmap_id, None)

    def end(self) -> None:
        """End all streams, because the process does; their readers come back to another."""
        self.ending = True
        for stream in self._streams():
            stream.end()

    async def find(self, roadmap_id: uuid.UUID, number: int, sender: Sender) -> Found | None:
        """What a stream that has had the events up to `number` begins with; None if its reader has no such roadmap.

        Raises:
            BadToken: nobody that may come in.
        """
        async with self._openings:
            while True:
                try:
                    return await self.threads.do(partial(read_owned, roadmap_id, sender, number))
                except Full:
                    await asyncio.sleep(0.2)  # pages go first

    async def after(self, roadmap_id: uuid.UUID, number: int) -> list[Numbered]:
        """The next events after that one, from the rows."""
        read = partial(self.threads.do, partial(read_events, roadmap_id, number), must=True)
        return await patiently("a stream", read)

    async def check_readers(self) -> None:
        """Until cancelled: again and again, end the streams of those who may not read them any more."""
        while True:
            await asyncio.sleep(CHECK)
            # Few questions for all streams, however many roadmaps they are of.
            for streams in batched(self._streams(), SLICE):
                look = partial(
                    self.threads.do, partial(may_read, {stream.reader for stream in streams}), must=True
                )
                try:
                    allowed = await patiently("a stream", look)
                except Exception:
                    logger.exception(
                        "Whether readers of streams still may could not be seen; that is tried again."
                    )
                    break
                for stream in streams:
                    if stream.reader not in allowed:
                        stream.end()

    def _streams(self) -> list[Stream]:
        return [stream for feed in self._feeds.values() for stream in feed.streams]

    def _refresh(self, feed: Feed) -> None:
        feed.stale = True
        if feed.reading is None or feed.reading.done():
            feed.reading = asyncio.create_task(self._read(feed), name="read events")

    async def _read(self, feed: Feed) -> None:
        while feed.stale and feed.streams:
            feed.stale = False
            events = await self.after(feed.roadmap_id, feed.read)
            feed.stale |= len(events) == SLICE
            feed.add(events)


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
    checking = asyncio.create_task(hub.check_readers(), name="check readers")
    try:
        yield hub
    finally:
        _current = None
        checking.cancel()
        watch.unsubscribe(CHANNEL)
        pools.withdraw("streams")
        hub.end()


def end_all() -> None:
    """End this process's streams: it is being shut down, and its server waits for them."""
    if _current is not None:
        _current.end()
