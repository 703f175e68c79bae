"""Live progress: `GET /api/v1/roadmaps/{id}/events`, as server-sent events.

However many streams there are, one connection listens: the watch's. An announcement carries ids; the events
themselves are read once for all streams of a roadmap, in one of the ORM threads (`roadmap.runs.hub`).
"""

import asyncio
import json
import re
import uuid
from functools import partial
from http import HTTPStatus

from healthcheck import faults
from healthcheck.asgi import Receive, Scope, Send
from roadmap.accounts import BadToken
from roadmap.runs.hub import Hub, Numbered, current
from roadmap.runs.patience import patiently
from waitlist.rules import allowed_host, security_headers

PATH = re.compile(r"/api/v1/roadmaps/([^/]+)/events")
QUIET = 15.0  # seconds without an event, after which a comment shows both sides that the other is there
RETRY = b"retry: 2000\n\n"  # milliseconds until a browser comes back
PATIENCE = 30.0  # seconds that an opening may take: a browser does not come back to a stream that was refused
MOST_NUMBER = 2**31 - 1  # of an event


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request for a stream, at a `PATH`."""
    path = PATH.fullmatch(scope["path"])
    assert path is not None  # noqa: S101  # nothing else is sent here
    roadmap_id = path[1]
    headers = dict(scope["headers"])
    if allowed_host(headers.get(b"host", b"")) is None:
        await refuse(scope, send, 400, "This site does not answer to that host name.")
        return
    if scope["method"] != "GET":
        await refuse(scope, send, 405, "This path does not take that method.", (b"allow", b"GET"))
        return
    hub = current()
    if hub is None or hub.ending:
        await refuse(scope, send, 503, "", (b"retry-after", b"1"))
        return
    try:
        find = partial(hub.find, uuid.UUID(roadmap_id), last_event_id(headers), scope)
        async with asyncio.timeout(PATIENCE):
            found = await patiently("a stream", find)
    except BadToken:
        wanted = (b"www-authenticate", b'Bearer realm="roadmap"')
        await refuse(scope, send, 401, "This needs a valid bearer token, or a signed-in browser.", wanted)
        return
    except ValueError:  # the path's id is none
        found = None
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
