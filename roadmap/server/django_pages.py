"""Django's pages: the whole of a request in one of the ORM threads, the waiting on the event loop.

The middleware chain is sync, so a request makes one hop. What this leans on of Django's and asgiref's insides:

- `BaseHandler.load_middleware(is_async=False)` and `get_response()`: the sync chain, as WSGI has it;
- `ASGIHandler.create_request()`: a request from an ASGI scope, and the answer when there can be none;
- `request_started` and `request_finished`, which `response.close()` sends: connections go back with the latter;
- `connections["default"].connection` is psycopg's own connection, while a thread has one.

`tests/roadmap/test_framework_internals.py` fails when one of these changes.
"""

import asyncio
import functools
import io
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.http.response import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.loader import render_to_string
from django.utils import translation

from healthcheck import faults
from healthcheck.asgi import Receive, Scope, Send
from roadmap.server.refusals import Refusal
from roadmap.server.threads import Full, Job, Threads
from waitlist.rules import LONGEST, language_of, security_headers

PART = 64 * 1024  # bytes of a streamed answer that are made in one turn of a thread
LEFT = "roadmap.left"  # in the scope: set when nobody waits for the answer


class TooLarge(Exception):
    """The body is over `DATA_UPLOAD_MAX_MEMORY_SIZE`."""


class Handler(ASGIHandler):
    """Django's handler with the sync chain of middleware; everything here runs in a thread."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    def respond(self, scope: Scope, body: bytes) -> HttpResponseBase:
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, io.BytesIO(body))
        if request is None:
            return cast(HttpResponseBase, refusal)
        response: HttpResponseBase = self.get_response(request)
        return response


class DjangoPages:
    """An ASGI application; `threads` is set while the process is up."""

    def __init__(self, deadline: float):
        """`deadline`: seconds after which a page has its answer, whatever happens."""
        self.deadline = deadline
        self.threads: Threads | None = None
        self.handler = Handler()

    def are_full(self) -> bool:
        """Whether a request that comes now would have to wait too long."""
        return self.threads is not None and self.threads.are_full()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.threads is None:
            await refuse(scope, send, 503)
            return
        deadline = asyncio.get_running_loop().time() + self.deadline
        try:
            async with asyncio.timeout_at(deadline):
                body = await read_body(scope, receive)
        except TimeoutError:
            await refuse(scope, send, 408)
            return
        except TooLarge:
            await refuse(scope, send, 413)
            return
        if body is None:
            return
        try:
            job = self.threads.submit(functools.partial(self.handler.respond, scope, body), close)
        except Full:
            faults.record("pool_full", "threads")
            await refuse(scope, send, 503)
            return
        listener = asyncio.ensure_future(receive())
        try:
            response = await self._outcome(job, listener, deadline, scope, send)
            if response is not None:
                await self._send(self.threads, response, listener, scope["path"], send)
        except Full:
            faults.record("pool_full", "threads")
            await refuse(scope, send, 503)
        finally:
            listener.cancel()

    async def _outcome(
        self, job: Job, listener: asyncio.Future[Any], deadline: float, scope: Scope, send: Send
    ) -> HttpResponseBase | None:
        """The response, or None if the client left or the deadline came first."""
        assert self.threads is not None  # noqa: S101  # the job came from them
        seconds = deadline - asyncio.get_running_loop().time()
        await asyncio.wait({job.done, listener}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if job.done.done():
            response: HttpResponseBase = job.done.result()
            return response
        scope[LEFT] = True
        self.threads.leave(job)
        if listener.done():
            faults.record("client_gone", scope["path"])
        else:
            faults.record("deadline", scope["path"])
            await refuse(scope, send, 503)
        return None

    async def _send(
        self,
        threads: Threads,
        response: HttpResponseBase,
        listener: asyncio.Future[Any],
        path: str,
        send: Send,
    ) -> None:
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()
        ]
        headers += [
            (b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()
        ]
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        if not isinstance(response, StreamingHttpResponse):
            await send({"type": "http.response.body", "body": cast(HttpResponse, response).content})
            return
        # A thread makes each part and is free while the client takes it.
        parts = iter(response)
        try:
            part = b"some"
            while part and not listener.done():
                part = await self._part(threads, parts, listener)
                if not listener.done():
                    await send({"type": "http.response.body", "body": part, "more_body": bool(part)})
        except Exception as error:
            fault = faults.classify(error)
            if fault is None:
                raise
            # What is there has been sent: the connection ends without the answer's end, and the client knows.
            faults.record(fault, path, error)
        else:
            if listener.done() and part:
                faults.record("client_gone", path)
        finally:
            await threads.submit(response.close, must=True).done

    async def _part(self, threads: Threads, parts: Iterator[bytes], listener: asyncio.Future[Any]) -> bytes:
        """The next part; if the client leaves meanwhile, its query is stopped."""
        job = threads.submit(functools.partial(take, parts), must=True)
        await asyncio.wait({job.done, listener}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done.done():
            threads.leave(job)
            await asyncio.wait({job.done})
            return b"" if job.done.cancelled() or job.done.exception() else b"some"
        part: bytes = job.done.result()
        return part


def close(response: HttpResponseBase | None) -> None:
    """In the thread, with the answer made: give the connection back. A streamed answer is not made yet."""
    if response is not None and not response.streaming:
        response.close()
    else:
        signals.request_finished.send(sender=Handler)


def take(parts: Iterator[bytes]) -> bytes:
    """In the thread: the next `PART` of a streamed answer; empty at its end."""
    content = b""
    for part in parts:
        content += part
        if len(content) >= PART:
            break
    return content


async def read_body(scope: Scope, receive: Receive) -> bytes | None:
    """The whole body; None if the client left.

    Raises:
        TooLarge: it is, or says that it will be.
    """
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not announced.isdigit() or len(announced) > 9 or int(announced) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise TooLarge
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            faults.record("client_gone", "a body")
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


async def refuse(scope: Scope, send: Send, status: int) -> None:
    """An answer that needs no thread."""
    accept_language = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
    refusal = refusal_of(status, scope["scheme"], scope["path"], accept_language)
    await send({"type": "http.response.start", "status": refusal.status, "headers": refusal.headers})
    await send({"type": "http.response.body", "body": refusal.body})


def refusal_of(status: int, scheme: str, path: str, accept_language: bytes) -> Refusal:
    """It is in the language that suits who asks best; nothing else in it is the caller's own."""
    return _refusal(status, scheme, path.startswith("/api/"), language_of(accept_language[: LONGEST + 1]))


@functools.cache
def _refusal(status: int, scheme: str, is_api: bool, language: str) -> Refusal:
    with translation.override(language):
        content = _problem(status) if is_api else _page(status)
    headers = [
        (b"content-type", b"application/problem+json" if is_api else b"text/html; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        *security_headers(scheme),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    else:
        headers.append((b"connection", b"close"))  # there is more of the body than was read
    return Refusal(status, tuple(headers), content)


def _problem(status: int) -> bytes:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return json.dumps(content).encode()


def _page(status: int) -> bytes:
    return render_to_string("503.html" if status == 503 else "400.html").encode()
