"""Live progress: `GET /api/v1/roadmaps/{id}/events`, as server-sent events.

However many streams there are, one connection listens: the watch's. An announcement carries ids; the events
themselves are read once for all streams of a roadmap, in one of the ORM threads. A stream holds no connection and no
thread: it waits for its roadmap's feed, and takes what is new from there. Nothing piles up for a slow reader.
"""

import asyncio
import contextlib
import json
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http import HTTPStatus

from healthcheck import faults, pools, watch
from healthcheck.asgi import Receive, Scope, Send
from roadmap.accounts import BadToken, person_of
from roadmap.models import Event, Roadmap
from roadmap.runs.events import CHANNEL
from roadmap.runs.patience import patiently
from roadmap.server.threads import Full, Threads
from waitlist.rules import allowed_host, security_headers

PATH = re.compile(r"/api/v1/roadmaps/([^/]+)/events")
QUIET = 15.0  # seconds without an event, after which a comment shows both sides that the other is there
RETRY = b"retry: 2000\n\n"  # milliseconds until a browser comes back
OPENINGS = 3  # that ask the database at once; after a deploy thousands come back, and pages need threads too
PATIENCE = 30.0  # seconds that an opening may take: a browser does not come back to a stream that was refused
RECENT = 100  # events that a feed keeps for its streams; what is older is read again
MOST_NUMBER = 2**31 - 1  # of an event

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


async def answer(roadmap_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request for a stream."""
    headers = dict(scope["headers"])
    if allowed_host(headers.get(b"host", b"")) is None:
        await refuse(scope, send, 400, "This site does not answer to that host name.")
        return
    if scope["method"] != "GET":
        await refuse(scope, send, 405, "This path does not take that method.", (b"allow", b"GET"))
        return
    try:
        if _current is None or _current.ending:
            raise Full
        hub = _current
        find = partial(hub.find, uuid.UUID(roadmap_id), last_event_id(headers), scope)
        async with asyncio.timeout(PATIENCE):
            found = await patiently("a stream", find)
    except BadToken:
        wanted = (b"www-authenticate", b'Bearer realm="roadmap"')
        await refuse(scope, send, 401, "This needs a valid bearer token, or a signed-in browser.", wanted)
        return
    except ValueError:  # the path's id is none
        found = None
    except Full:
        faults.record("pool_full", "threads")
        await refuse(scope, send, 503, "", (b"retry-after", b"1"))
        return
    except TimeoutError:
        faults.record("deadline", scope["path"])
        await refuse(scope, send, 503, "", (b"retry-after", b"1"))
        return
    if found is None:
        await refuse(scope, send, 404, "")
        return
    start = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
        *security_headers(scope["scheme"]),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": start})
    listener = asyncio.ensure_future(receive_end(receive))
    try:
        await flow(hub, uuid.UUID(roadmap_id), found, listener, send)
    finally:
        listener.cancel()


async def flow(
    hub: Hub,
    roadmap_id: uuid.UUID,
    found: tuple[int, list[Numbered]],
    gone: asyncio.Future[None],
    send: Send,
) -> None:
    """Send what is there, and what comes, until the reader is gone or the process ends."""
    number: int
    events: list[Numbered] | None
    number, events = found
    await send({"type": "http.response.body", "body": RETRY, "more_body": True})
    with hub.joined(roadmap_id, events[-1][0] if events else number) as (stream, feed):
        gone.add_done_callback(stream.wake)
        while not (gone.done() or hub.ending):
            if events is None:
                events = await hub.after(roadmap_id, number)
            if events:
                number = events[-1][0]
                body = b"".join(text for _, text in events)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            events = feed.after(number)
            if events == []:
                quiet = asyncio.get_running_loop().time() + QUIET
                await stream.wait(QUIET)
                if asyncio.get_running_loop().time() >= quiet:
                    await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
                events = feed.after(number)
    if not gone.done():
        await send({"type": "http.response.body", "body": b""})


async def receive_end(receive: Receive) -> None:
    """Return when the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def last_event_id(headers: dict[bytes, bytes]) -> int:
    """The number of the last event that the reader has had; 0 for a new one."""
    text = headers.get(b"last-event-id", b"").strip()
    return min(int(text), MOST_NUMBER) if text.isdigit() and len(text) <= 10 else 0


async def refuse(scope: Scope, send: Send, status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    content = json.dumps({**problem, "detail": detail} if detail else problem).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *more,
        *security_headers(scope["scheme"]),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
