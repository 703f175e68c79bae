"""Live progress: `GET /api/v1/roadmaps/{id}/events`, as server-sent events.

However many streams there are, one connection listens: the watch's. An announcement carries ids; the events
themselves are read once for all streams of a roadmap, in one of the ORM threads (`roadmap.runs.hub`).
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.urls.converters import UUIDConverter

from healthcheck import faults
from healthcheck.asgi import Receive, Scope, Send
from roadmap.accounts import BadToken, sender_of
from roadmap.errors import PROBLEM, problem_content
from roadmap.runs.hub import Feed, Hub, Stream, TooMany, current
from roadmap.runs.patience import patiently
from roadmap.runs.rows import Found, Numbered
from roadmap.server.threads import Full
from waitlist.rules import LONGEST, allowed_host, security_headers

# What else may stand in the id's place is Django's, which knows no such path.
PATH = re.compile(rf"/api/v1/roadmaps/({UUIDConverter.regex})/events")
QUIET = 15.0  # seconds without an event, after which a comment shows both sides that the other is there
RETRY = b"retry: 2000\n\n"  # milliseconds until a browser comes back
MOST_BODY = 64 * 1024  # bytes of what nobody needs
NUMBER, MOST_NUMBER = re.compile("[0-9]{1,10}"), 2**31 - 1  # of an event

AGAIN = (b"retry-after", b"1")
LATER = (b"retry-after", b"15")  # when one of one's own streams may have ended
CLOSE = (b"connection", b"close")  # there is more of the body than was read
BEARER = (b"www-authenticate", b'Bearer realm="roadmap"')

logger = logging.getLogger(__name__)


class Gone(Exception):
    """The reader left before the stream began."""


class Refused(Exception):
    """The reader gets a problem document in place of a stream."""

    def __init__(self, status: int, detail: str, *headers: tuple[bytes, bytes]):
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.headers = headers


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request for a stream, at a `PATH`."""
    try:
        await answer(scope, receive, send)
    except Gone:
        faults.record("client_gone", scope["path"])
    except Refused as refused:
        await refuse(scope, send, refused)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Raises Gone, Refused."""
    deadline = asyncio.get_running_loop().time() + settings.CONNECTION_PLAN.page_deadline
    path = PATH.fullmatch(scope["path"])
    assert path is not None  # noqa: S101  # nothing else is sent here
    headers = dict(scope["headers"])
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) != 1 or len(hosts[0]) > LONGEST or allowed_host(hosts[0]) is None:
        raise Refused(400, "This site does not answer to that host name.")
    if scope["method"] != "GET":
        raise Refused(405, "This path does not take that method.", (b"allow", b"GET"))
    try:
        sender = sender_of(headers)
    except BadToken:
        raise nobody() from None
    hub = current()
    if hub is None or hub.ending:
        raise Refused(503, "", AGAIN)
    await pass_over_body(receive, deadline)
    gone = asyncio.ensure_future(receive())  # nothing comes any more but that the reader leaves
    try:
        with hub.place():
            find = partial(hub.find, uuid.UUID(path[1]), number_in(headers, scope["query_string"]), sender)
            found = await opened(partial(patiently, "a stream", find), gone, deadline, scope["path"])
            with hub.joined(found.reader, found.last) as (stream, feed):
                await start(scope, send)
                await flow(hub, found, stream, feed, gone, send)
    except Full:
        faults.record("pool_full", "streams")
        raise Refused(503, "", AGAIN) from None
    except TooMany:
        raise Refused(429, "You have too many streams open: close one, then come back.", LATER) from None
    finally:
        gone.cancel()


async def opened(
    find: Callable[[], Coroutine[Any, Any, Found | None]],
    gone: asyncio.Future[Any],
    deadline: float,
    where: str,
) -> Found:
    """What the stream begins with; looking for it ends when nobody waits for it any more, or at the deadline.

    Raises:
        Gone, Refused.
    """
    opening = asyncio.create_task(find())
    try:
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.wait({opening, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        opening.cancel()
    if not opening.done():
        if gone.done():
            raise Gone
        faults.record("deadline", where)
        raise Refused(503, "", AGAIN)
    try:
        found = opening.result()
    except BadToken:
        raise nobody() from None
    except Exception:
        logger.exception("A stream could not be opened.")
        raise Refused(500, "") from None
    if found is None:
        raise Refused(404, "")
    return found


async def start(scope: Scope, send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
        *security_headers(scope["scheme"]),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": RETRY, "more_body": True})


async def flow(
    hub: Hub, found: Found, stream: Stream, feed: Feed, gone: asyncio.Future[Any], send: Send
) -> None:
    """Send what is there, and what comes, until the reader is gone or the stream is over."""
    number: int
    events: list[Numbered] | None
    number, events = found.number, found.events
    gone.add_done_callback(stream.wake)
    while not (gone.done() or stream.is_over):
        if events is None:
            events = await hub.after(feed.roadmap_id, number)
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


async def pass_over_body(receive: Receive, deadline: float) -> None:
    """Read the body, if there is one.

    Raises:
        Gone.
        Refused: it is too long, or too slow.
    """
    size, more = 0, True
    try:
        async with asyncio.timeout_at(deadline):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
                if size > MOST_BODY:
                    raise Refused(413, "The body may have at most 64 KiB.", CLOSE)
    except TimeoutError:
        raise Refused(408, "", CLOSE) from None


def number_in(headers: Mapping[bytes, bytes], query: bytes) -> int:
    """The number of the last event that the reader has had; 0 for a new one.

    A browser that comes back says it in `Last-Event-ID`; a page that has just been rendered in `?after=`.
    """
    after = parse_qs(query.decode("latin-1")).get("after", [""])[-1]
    for text in (headers.get(b"last-event-id", b"").decode("latin-1").strip(), after):
        if NUMBER.fullmatch(text):
            return min(int(text), MOST_NUMBER)
    return 0


def nobody() -> Refused:
    return Refused(401, "This needs a valid bearer token, or a signed-in browser.", BEARER)


async def refuse(scope: Scope, send: Send, refused: Refused) -> None:
    content = json.dumps(problem_content(refused.status, refused.detail)).encode()
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *refused.headers,
        *security_headers(scope["scheme"]),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
