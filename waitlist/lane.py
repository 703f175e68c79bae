"""The lane: the waitlist's pages and joins, answered on the event loop in front of Django.

It does what Django would have done for these four paths (`waitlist.rules`), and nothing else: no thread, no
session, no connection of its own. A join waits only for the commit that it shares (`waitlist.joins`).
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _

from healthcheck import faults
from waitlist import pages, rules
from waitlist.forms import MAX_BODY, Invalid, Malformed, judge, read_form, read_json
from waitlist.joins import BacklogFull, JoinWriter, Refused, Row
from waitlist.limits import Limiter, Rate
from waitlist.rules import Header

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

API = "/api/v1/waitlist"
PATHS = ("/", "/thanks", API)
TO_THANKS = [(b"location", b"/thanks"), (b"content-length", b"0"), (b"cache-control", b"no-store")]
METHODS = {"/": "GET, HEAD, POST", "/thanks": "GET, HEAD", API: "POST, OPTIONS"}


class TooLarge(Exception):
    """The body is over `MAX_BODY`."""


class ClientGone(Exception):
    """The client left before its body was complete."""


class Request:
    """What the lane needs to know of a request, read once."""

    def __init__(self, scope: Scope):
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.scheme: str = scope["scheme"]
        self.client: str = scope["client"][0] if scope.get("client") else ""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b"," + value if name in headers else value
        self.headers = headers
        self.host = rules.allowed_host(headers.get(b"host", _server_name(scope)))
        self.language = rules.language_of(headers.get(b"accept-language", b""))

    @property
    def content_type(self) -> bytes:
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


class Lane:
    """An ASGI application for `PATHS`; `writer` is set while the process can take joins."""

    def __init__(self, deadline: float, rate: Rate | None):
        """`deadline`: seconds after which a join has its answer, whatever happens; `rate`: for each client."""
        self.deadline = deadline
        self.limiter = Limiter(rate) if rate else None
        self.writer: JoinWriter | None = None
        self.pages = pages.render_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        reply = Reply(request, send)
        if request.host is None:
            await reply.problem(400, "This site does not answer to that host name.")
        elif request.method in ("GET", "HEAD") and request.path != API:
            page = self.pages[request.language]
            await reply.page(page.landing if request.path == "/" else page.thanks)
        elif request.method == "POST" and request.path != "/thanks":
            await self._post(request, receive, reply)
        elif request.method == "OPTIONS" and request.path == API:
            await reply.preflight()
        else:
            await reply.problem(
                405, "This path does not take that method.", {"allow": METHODS[request.path]}
            )

    async def _post(self, request: Request, receive: Receive, reply: "Reply") -> None:
        from_api = request.path == API
        expected = b"application/json" if from_api else b"application/x-www-form-urlencoded"
        if rules.cross_site(request.scheme, request.host or "", request.headers) and not (
            from_api and rules.cors_origin(request.headers)
        ):
            await reply.problem(403, "Joins from other sites’ pages are not taken.")
        elif request.content_type != expected:
            await reply.problem(415, f"The body must be {expected.decode()}.")
        elif self.limiter and (wait := self.limiter.wait(request.client)):
            await reply.too_many(wait, self.pages[request.language].too_many)
        else:
            await self._join(request, receive, reply)

    async def _join(self, request: Request, receive: Receive, reply: "Reply") -> None:
        read = _read_api if request.path == API else _read_page
        body: bytes | None = None
        try:
            async with asyncio.timeout(self.deadline):
                body = await _read_body(request.headers, receive)
                row = read(request, body)
                if row is not None:
                    await self._write(row)
        except TimeoutError:
            if body is None:
                await reply.problem(408, "The body did not arrive in time.", {"connection": "close"})
            else:
                faults.record("deadline", "joins")
                await reply.busy(self.pages[request.language])
        except BacklogFull:
            faults.record("pool_full", "joins")
            await reply.busy(self.pages[request.language])
        except Refused:
            await reply.busy(self.pages[request.language])
        except ClientGone:
            faults.record("client_gone", "joins")
        except TooLarge:
            text = f"The body may have at most {MAX_BODY} bytes."
            await reply.problem(413, text, {"connection": "close"})
        except (Malformed, Invalid):
            await reply.not_taken(read, body or b"")
        else:
            await reply.joined(self.pages[request.language])

    def _write(self, row: Row) -> asyncio.Future[None]:
        if self.writer is None:
            raise BacklogFull
        return self.writer.join(row)


def _read_api(request: Request, body: bytes) -> Row:
    content = read_json(body)
    return judge(content.get("email"), content.get("source", ""), request.language)


def _read_page(request: Request, body: bytes) -> Row | None:
    """The row, or None for a program that fell into the trap: it gets the answer it hopes for."""
    form = read_form(body)
    return None if form.trap else judge(form.email, form.source, request.language)


class Reply:
    """Answers one request; every answer carries the security headers."""

    def __init__(self, request: Request, send: Send):
        self.request = request
        self._send = send

    async def page(self, page: pages.Page) -> None:
        wanted = self.request.headers.get(b"if-none-match")
        if wanted is not None and (page.etag in wanted or wanted.strip() == b"*"):
            await self.send(304, page.headers[:-1], b"")
        elif b"gzip" in self.request.headers.get(b"accept-encoding", b""):
            await self.send(200, page.compressed_headers, page.compressed)
        else:
            await self.send(200, page.headers, page.content)

    async def joined(self, own: pages.Pages) -> None:
        """The same bytes for a new address and for a known one."""
        if self.request.path == API:
            await self.send(202, own.joined_headers, own.joined)
        else:
            await self.send(303, TO_THANKS, b"")

    async def busy(self, own: pages.Pages) -> None:
        """A join that could not be committed in time; nothing of it is half done, so it can be sent again."""
        if self.request.path == API:
            text = "Joins cannot be stored right now. Please send this one again."
            await self.problem(503, text, {"retry-after": "1"})
        else:
            await self._content(503, b"text/html; charset=utf-8", own.busy, {"retry-after": "1"})

    async def too_many(self, wait: float, page: bytes) -> None:
        """This client has joined too many people already; `wait` seconds until it may go on."""
        headers = {"retry-after": str(math.ceil(wait))}
        if self.request.path == API:
            await self.problem(429, "Too many joins came from your address.", headers)
        else:
            await self._content(429, b"text/html; charset=utf-8", page, headers)

    async def not_taken(self, read: Callable[[Request, bytes], Row | None], body: bytes) -> None:
        """Say what is wrong with a body, in the visitor's language: so it is read once more, with that active."""
        with translation.override(self.request.language):
            try:
                read(self.request, body)
            except Malformed as error:
                await self.problem(400, str(error))
            except Invalid as error:
                if self.request.path == API:
                    await self.problem(422, _("Some fields cannot be taken as they are."), errors=error.errors)
                else:
                    form = read_form(body)
                    sentence = " ".join(text for texts in error.errors.values() for text in texts)
                    page = pages.render_landing(form.email, form.source, sentence)
                    await self._content(422, b"text/html; charset=utf-8", page)

    async def problem(
        self,
        status: int,
        detail: str,
        headers: dict[str, str] | None = None,
        errors: dict[str, list[str]] | None = None,
    ) -> None:
        """An RFC 9457 problem, for programs; people who get one here did not use the page."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": _TITLES[status],
            "status": status,
            "detail": detail,
        }
        if errors:
            content["errors"] = errors
        await self._content(status, b"application/problem+json", json.dumps(content).encode(), headers)

    async def preflight(self) -> None:
        """Answer a browser that asks whether a page of another origin may join people."""
        headers: list[Header] = [(b"content-length", b"0")]
        if rules.cors_origin(self.request.headers):
            headers += [
                (b"access-control-allow-methods", b"POST"),
                (b"access-control-allow-headers", b"content-type"),
                (b"access-control-max-age", b"86400"),
            ]
        await self.send(204, headers, b"")

    async def _content(
        self, status: int, content_type: bytes, content: bytes, headers: dict[str, str] | None = None
    ) -> None:
        extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await self.send(
            status,
            [
                (b"content-type", content_type),
                (b"content-length", str(len(content)).encode()),
                (b"cache-control", b"no-store"),
                *extra,
            ],
            content,
        )

    async def send(self, status: int, headers: list[Header], content: bytes) -> None:
        headers = [*headers, *rules.security_headers(self.request.scheme)]
        if self.request.path == API and rules.cors_is_on():
            headers.append((b"vary", b"Origin"))
            if origin := rules.cors_origin(self.request.headers):
                headers.append((b"access-control-allow-origin", origin))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if self.request.method == "HEAD" else content
        await self._send({"type": "http.response.body", "body": body})


_TITLES = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


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


def _server_name(scope: Scope) -> bytes:
    """What stands in for a missing `Host`: the address that was connected to, as Django has it."""
    server = scope.get("server")
    return server[0].encode() if server else b""
