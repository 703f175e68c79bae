"""The lane: the waitlist's pages and joins, answered on the event loop in front of Django.

It does what Django would have done for these four paths (`waitlist.rules`), and nothing else: no thread, no
session, no connection of its own. A join waits only for the commit that it shares (`waitlist.joins`).
"""

import asyncio
from collections.abc import Awaitable

from healthcheck import faults
from healthcheck.asgi import Receive, Scope, Send
from waitlist import pages, rules
from waitlist.deadline import Deadlines
from waitlist.forms import MAX_BODY, Invalid, Malformed, judge, read_form, read_json
from waitlist.joins import BacklogFull, JoinWriter, Refused, Row
from waitlist.limits import Limiter, Rate
from waitlist.replies import API, Reply, Request

PATHS = ("/", "/thanks", API)
METHODS = {"/": "GET, HEAD, POST", "/thanks": "GET, HEAD", API: "POST, OPTIONS"}


class TooLarge(Exception):
    """The body is over `MAX_BODY`."""


class ClientGone(Exception):
    """The client left before its body was complete."""


class Lane:
    """An ASGI application for `PATHS`; `writer` is set while the process can take joins."""

    def __init__(self, deadline: float, rate: Rate | None):
        """`deadline`: seconds after which a join has its answer, whatever happens; `rate`: for each client."""
        self.deadlines = Deadlines(deadline)
        self.limiter = Limiter(rate) if rate else None
        self.writer: JoinWriter | None = None
        self.pages = pages.render_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        reply = Reply(request, send, self.pages[request.language])
        if request.host is None:
            await reply.refuse(400, "This site does not answer to that host name.")
        elif request.method == "POST" and request.path != "/thanks":
            await (self._refusal(request, reply) or self._join(request, receive, reply))
        elif request.method in ("GET", "HEAD") and request.path != API:
            await (reply.landing() if request.path == "/" else reply.thanks())
        elif request.method == "OPTIONS" and request.path == API:
            await reply.preflight()
        else:
            await reply.refuse(405, "This path does not take that method.", {"allow": METHODS[request.path]})

    def _refusal(self, request: Request, reply: Reply) -> Awaitable[None] | None:
        """The answer to a join that is refused whatever its body is."""
        from_api = request.path == API
        expected = b"application/json" if from_api else b"application/x-www-form-urlencoded"
        if rules.cross_site(request.scheme, request.host or "", request.headers) and not (
            from_api and rules.cors_origin(request.headers)
        ):
            return reply.refuse(403, "Joins from other sites’ pages are not taken.")
        if request.content_type != expected:
            return reply.refuse(415, f"The body must be {expected.decode()}.")
        if self.limiter and (wait := self.limiter.wait(request.client)):
            return reply.too_many(wait)
        return None

    async def _join(self, request: Request, receive: Receive, reply: Reply) -> None:
        read = _read_api if request.path == API else _read_page
        body: bytes | None = None
        try:
            with self.deadlines.begin():
                body = await _read_body(request.headers, receive)
                row = read(request, body)
                if row is not None:
                    await self._write(row)
        except TimeoutError:
            if body is None:
                await reply.refuse(408, "The body did not arrive in time.", {"connection": "close"})
            else:
                faults.record("deadline", "joins")
                await reply.busy()
        except BacklogFull:
            faults.record("pool_full", "joins")
            await reply.busy()
        except Refused:
            await reply.busy()
        except ClientGone:
            faults.record("client_gone", "joins")
        except TooLarge:
            text = f"The body may have at most {MAX_BODY} bytes."
            await reply.refuse(413, text, {"connection": "close"})
        except (Malformed, Invalid):
            await reply.not_taken(read, body or b"")
        else:
            await reply.joined()

    def _write(self, row: Row) -> asyncio.Future[None]:
        if self.writer is None:  # the process starts, or ends
            raise Refused
        return self.writer.join(row)


def _read_api(request: Request, body: bytes) -> Row:
    content = read_json(body)
    return judge(content.get("email"), content.get("source", ""), request.language)


def _read_page(request: Request, body: bytes) -> Row | None:
    """The row, or None for a program that fell into the trap: it gets the answer it hopes for."""
    form = read_form(body)
    return None if form.trap else judge(form.email, form.source, request.language)


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The whole body, never more than `MAX_BODY` of it.

    Raises:
        TooLarge: it is longer, or says that it will be.
        ClientGone: the client left.
    """
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or len(announced) > 9 or int(announced) > MAX_BODY:
        raise TooLarge
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise TooLarge
        if not message.get("more_body", False):
            return body
