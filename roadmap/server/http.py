"""How the web's server speaks HTTP: as uvicorn does, with less work where much is asked.

- Of an answer whose headers are a tuple there are few, sent again and again: what goes over the wire for its head is
  made once. uvicorn judges and joins every header of every answer.
- Who is refused whatever they ask (`Application.refusal`) costs neither a task nor a call of the application. Past
  capacity that is nearly everybody, and the threads that answer the others need the processor.

What this leans on of uvicorn's insides; `tests/roadmap/test_framework_internals.py` fails when it changes:

- `HttpToolsProtocol`: `on_message_begin()` and `on_headers_complete()` do what is done here and nothing besides, and
  the other callbacks leave a request alone whose cycle is complete;
- `RequestResponseCycle.send()`: an answer has begun as here, and its body goes on from there.
"""

import asyncio
import functools
from collections.abc import MutableMapping
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from healthcheck.asgi import Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Application(Protocol):
    """What the server asks."""

    def refusal(self, scope: Scope) -> Refusal | None:
        """The answer for a request that nobody can take now; its body is not looked at."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Head(NamedTuple):
    """The lines of an answer's headers, and what two of them say."""

    lines: bytes
    length: int
    closes: bool


@functools.lru_cache(maxsize=4096)
def head_of(headers: Headers) -> Head:
    """Made once; the headers must have a `content-length`."""
    said = dict(headers)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Head(lines, int(said[b"content-length"]), said.get(b"connection") == b"close")


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    _head: bytes | None = None  # of an answer that has begun, until its body is there

    async def send(self, message: MutableMapping[str, Any]) -> None:  # type: ignore[override]
        """As uvicorn's; an answer whose headers are a tuple has its head and its body written as one."""
        if self._head is not None:
            self._finish(self._head, message["body"])
        elif type(headers := message.get("headers")) is tuple and not (
            self.response_started or self.disconnected or self.flow.write_paused
        ):
            head = head_of(headers)
            self.response_started = True
            self.waiting_for_100_continue = False
            self.keep_alive = self.keep_alive and not head.closes
            self._head = whole_head(message["status"], self.default_headers, head, closes=not self.keep_alive)
        else:
            await super().send(message)  # type: ignore[arg-type]

    def _finish(self, head: bytes, body: bytes) -> None:
        self._head = None
        if self.disconnected:
            return
        self.transport.write(head + body)
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def whole_head(status: int, defaults: list[tuple[bytes, bytes]], head: Head, *, closes: bool) -> bytes:
    """`defaults` are uvicorn's own: the date."""
    lines = [STATUS_LINE[status]]
    for name, value in defaults:
        lines += (name, b": ", value, b"\r\n")
    lines.append(head.lines)
    lines.append(b"connection: close\r\n\r\n" if closes and not head.closes else b"\r\n")
    return b"".join(lines)


class Refused:
    """Stands for a cycle whose answer is complete: what else comes of its request is passed over."""

    response_complete = True
    message_event = asyncio.Event()


class ServerProtocol(HttpToolsProtocol):
    """One connection."""

    app: Application
    _to_start: Cycle | None = (
        None  # a request whose headers are there, until the end of what was received with them
    )

    idle_since: float | None = None  # the loop's time

    def data_received(self, data: bytes) -> None:
        self.idle_since = None
        super().data_received(data)
        if self._to_start is not None:
            cycle, self._to_start = self._to_start, None
            self._start_asgi_task(cycle, self.app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Eager: its body is there as a rule, and what waits for nothing is answered without a turn of the loop.
        task = asyncio.Task(cycle.run_asgi(app), loop=self.loop, eager_start=True)
        if not task.done():
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        scope = self._scope(version)
        is_next = self.cycle is None or self.cycle.response_complete
        # Who does not read their answers gets no more of them.
        if is_next and not self.flow.write_paused and (refusal := self.app.refusal(scope)):
            self._refuse(refusal, scope["method"], keep_alive)
            return
        self.cycle = Cycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if is_next:
            self._to_start = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer: `close_if_idle` does its work, for all connections in one look."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.idle_since = self.loop.time()

    def close_if_idle(self, now: float) -> None:
        """Close what has been kept alive for `timeout_keep_alive` seconds since its last answer."""
        if self.idle_since is not None and now - self.idle_since > self.timeout_keep_alive:
            self.transport.close()

    def _scope(self, version: str) -> dict[str, Any]:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        # Without `state`: nothing here keeps any.
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
        }

    def _refuse(self, refusal: Refusal, method: str, keep_alive: bool) -> None:
        if self.transport.is_closing():
            return
        self.cycle = cast(Cycle, Refused)
        head = head_of(refusal.headers)
        closes = head.closes or not keep_alive
        content = whole_head(refusal.status, self.server_state.default_headers, head, closes=closes)
        self.transport.write(content if method == "HEAD" else content + refusal.body)
        if closes:
            self.transport.close()
        self.on_response_complete()
