"""A request as the lane sees it, and every kind of answer that the lane gives."""

import functools
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from django.utils import translation
from django.utils.translation import gettext as _

from healthcheck.asgi import Scope, Send
from waitlist import pages, rules
from waitlist.forms import Invalid, Malformed, read_form
from waitlist.joins import Row
from waitlist.rules import Header

API = "/api/v1/waitlist"
TO_THANKS = ((b"location", b"/thanks"), (b"content-length", b"0"), (b"cache-control", b"no-store"))


class Request:
    """What the lane needs to know of a request, read once."""

    def __init__(self, scope: Scope):
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.scheme: str = scope["scheme"]
        self.client: str = scope["client"][0] if scope.get("client") else ""
        self.headers = headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]):
            headers.clear()
            for name, value in scope["headers"]:
                headers[name] = headers[name] + b"," + value if name in headers else value
        host = headers.get(b"host")
        if host is None:
            host = _server_name(scope)
        self.host = rules.allowed_host(host) if len(host) <= rules.LONGEST else None
        self.language = rules.language_of(headers.get(b"accept-language", b"")[: rules.LONGEST + 1])

    @property
    def content_type(self) -> bytes:
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


class Reply:
    """Answers one request; every answer carries the security headers."""

    def __init__(self, request: Request, send: Send, own: pages.Pages):
        """`own`: the pages in the visitor's language."""
        self.request = request
        self._send = send
        self._own = own

    def landing(self) -> Awaitable[None]:
        return self._page(self._own.landing)

    def thanks(self) -> Awaitable[None]:
        return self._page(self._own.thanks)

    async def _page(self, page: pages.Page) -> None:
        wanted = self.request.headers.get(b"if-none-match")
        if wanted is not None and rules.is_known(page.etag, wanted):
            await self.send(304, list(page.headers[:-1]), b"")
        elif rules.accepts_gzip(self.request.headers.get(b"accept-encoding", b"")):
            await self.send(200, page.compressed_headers, page.compressed)
        else:
            await self.send(200, page.headers, page.content)

    def joined(self) -> Awaitable[None]:
        """The same bytes for a new address and for a known one."""
        if self.request.path == API:
            return self.send(202, self._own.joined_headers, self._own.joined)
        return self.send(303, TO_THANKS, b"")

    async def busy(self) -> None:
        """A join that could not be committed in time; nothing of it is half done, so it can be sent again."""
        if self.request.path == API:
            text = "Joins cannot be stored right now. Please send this one again."
            await self.problem(503, text, {"retry-after": "1"})
        else:
            await self._content(503, b"text/html; charset=utf-8", self._own.busy, {"retry-after": "1"})

    def too_many(self, wait: float) -> Awaitable[None]:
        """This client has joined too many people already; `wait` seconds until it may go on."""
        headers = {"retry-after": str(math.ceil(wait))}
        return self.refuse(429, "Too many joins came from your address.", headers)

    async def refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """A problem for programs; people get the form again, with the reason as `pages.REASONS` has it."""
        if self.request.path == API:
            await self.problem(status, detail, headers)
        else:
            await self._content(status, b"text/html; charset=utf-8", self._own.refused[status], headers)

    async def not_taken(self, read: Callable[[Request, bytes], Row | None], body: bytes) -> None:
        """Say what is wrong with a body, in the visitor's language: so it is read once more, with that active."""
        with translation.override(self.request.language):
            try:
                read(self.request, body)
            except Malformed as error:
                await self.refuse(400, str(error))
            except Invalid as error:
                if self.request.path == API:
                    await self.problem(
                        422, _("Some fields cannot be taken as they are."), errors=error.errors
                    )
                else:
                    form = read_form(body)
                    sentence = " ".join(text for texts in error.errors.values() for text in texts)
                    page = pages.render_landing(
                        form.email, form.source, sentence, address_is_bad="email" in error.errors
                    )
                    await self._content(422, b"text/html; charset=utf-8", page)

    async def problem(
        self,
        status: int,
        detail: str,
        headers: dict[str, str] | None = None,
        errors: dict[str, list[str]] | None = None,
    ) -> None:
        """An RFC 9457 problem."""
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }
        if errors:
            content["errors"] = errors
        await self._content(status, b"application/problem+json", json.dumps(content).encode(), headers)

    async def preflight(self) -> None:
        """Answer a browser that asks whether a page of another origin may join people."""
        headers: list[Header] = []
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

    async def send(self, status: int, headers: Sequence[Header], content: bytes) -> None:
        request = self.request
        # A tuple tells the server that there are few such heads, and it makes each of them once.
        headers = (
            complete(headers, request.scheme)
            if type(headers) is tuple
            else [*headers, *rules.security_headers(request.scheme)]
        )
        if request.path == API and rules.cors_is_on():
            headers = [*headers, (b"vary", b"Origin")]
            if origin := rules.cors_origin(request.headers):
                headers += [
                    (b"access-control-allow-origin", origin),
                    (b"access-control-expose-headers", b"Retry-After"),
                ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else content})


@functools.lru_cache(maxsize=256)
def complete(headers: tuple[Header, ...], scheme: str) -> tuple[Header, ...]:
    return (*headers, *rules.security_headers(scheme))


def _server_name(scope: Scope) -> bytes:
    """What stands in for a missing `Host`: the address that was connected to, as Django has it."""
    name, port = scope.get("server") or ("", None)
    usual = 443 if scope["scheme"] == "https" else 80
    return f"{name}:{port}".encode() if port and port != usual else name.encode()
