"""How the web's server speaks HTTP: as uvicorn does, with less work where much is asked.

- Of an answer whose headers are a tuple there are few, sent again and again: what goes over the wire for its head is
  made once, and written together with the body. uvicorn judges and joins every header of every answer.
- A request is begun when all that came with its head has been read, without a turn of the loop. What it needs to wait
  for its body, and to be closed when it has been idle for long, costs nothing while it is not needed.
- Who is refused whatever they ask (`Application.refusal`) costs neither a task nor a call of the application. Past
  capacity that is nearly everybody, and the threads that answer the others need the processor.
- A head has a bound, in bytes and in time; so has what may follow a body in chunks, and none of it counts as a header.

What this leans on of uvicorn's insides; `tests/roadmap/test_framework_internals.py` fails when it changes, and
`tests/roadmap/test_http.py` compares every byte with what uvicorn itself would have sent:

- `HttpToolsProtocol`: its callbacks do what is done here and nothing besides, call `set()` of the cycle's
  `message_event` when there is news for it, and leave a request alone whose cycle is complete;
- `RequestResponseCycle`: `__init__()` sets what is set here; `send()` does the rest of every answer.
"""

import asyncio
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from healthcheck.asgi import Receive, Scope, Send
from roadmap.server.cycle import REFUSED, Cycle
from roadmap.server.heads import head_of, whole_head
from roadmap.server.refusals import Refusal, Telling, telling

MOST_HEAD = 32 * 1024  # bytes of a head or a trailer, behind the piece that it begins in
HEAD_SECONDS = 20.0  # that a head may take

HEAD_TOO_LARGE = Refusal(431, ((b"content-length", b"0"), (b"connection", b"close")), b"")


class Application(Protocol):
    """What the server asks."""

    def is_full(self) -> bool:
        """Whether some requests are refused now; it costs next to nothing to ask."""

    def refusal(self, told: Telling) -> Refusal | None:
        """The answer for a request that nobody can take now, while `is_full`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class ServerProtocol(HttpToolsProtocol):
    """One connection."""

    app: Application
    # A request whose head is there, until the end of what was received with it.
    _to_start: Cycle | None = None
    # The request that is at work, or was last; others wait behind it.
    _running: RequestResponseCycle | None = None
    _in_head = False
    _in_trailer = False  # or between two chunks
    _head_begun = False  # in what was received last, or the trailer
    _head_size = 0  # bytes of a head or a trailer that has not been complete so far
    _due: float | None = None  # when to close it, by the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._due = self.loop.time() + HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        self._head_begun = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._to_start is not None:
            cycle, self._to_start = self._to_start, None
            self._start_asgi_task(cycle, self.app)
        elif self._in_head:
            self._wait_for_head(len(data))
        elif self._in_trailer and not self._head_begun:
            self._head_size += len(data)
            if self._head_size > MOST_HEAD:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's, which knows the request only that came last, whoever it is that is at work."""
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = self._head_begun = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_size = 0
        self._due = None
        is_next = self.cycle is None or self.cycle.response_complete
        keep_alive = bool(self.parser.should_keep_alive()) and self.parser.get_http_version() != "1.0"
        if (
            is_next
            and self.app.is_full()
            and not self.flow.write_paused  # who does not read their answers gets no more of them
            and (refusal := self.app.refusal(telling(self.url, self.scheme or "http", self.headers)))
        ):
            self._refuse(refusal, bare=self.parser.get_method() == b"HEAD", keep_alive=keep_alive)
            return
        self.cycle = Cycle(self, self._scope(), keep_alive)
        self.headers = []  # for a trailer: proxies have judged the head alone
        if is_next:
            self._to_start = self.cycle
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, cast(Any, self.app)))

    def on_chunk_header(self) -> None:
        """Behind it comes the chunk or, behind the last one, the trailer."""
        self._in_trailer = self._head_begun = True
        self._head_size = 0

    def on_body(self, body: bytes) -> None:
        self._in_trailer = False
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._in_trailer = False
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer: `close_if_due` does that one's work, for all connections in one look."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            # Not eager: of hundreds in one piece each would be answered inside the one before it.
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app, eager=False)
        else:
            self._due = self.loop.time() + self.timeout_keep_alive

    def close_if_due(self, now: float) -> None:
        """Close what has been idle since its last answer for too long, or has not sent a whole head in time."""
        if self._due is not None and now >= self._due:
            self.transport.close()

    def _wait_for_head(self, size: int) -> None:
        """A head is not complete with what was received, so many bytes."""
        if self._head_begun:
            self._due = self.loop.time() + HEAD_SECONDS
        else:
            self._head_size += size
        if self._head_size <= MOST_HEAD or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(HEAD_TOO_LARGE, keep_alive=False)
        else:
            self.transport.close()  # an answer is due that would come behind this one

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any, *, eager: bool = True) -> None:
        """Eager: its body is there as a rule, and what waits for nothing is answered without a turn of the loop."""
        self._running = cycle
        task = asyncio.Task(cycle.run_asgi(app), loop=self.loop, eager_start=eager)
        if not task.done():
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _scope(self) -> dict[str, Any]:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        # Without `state`: nothing here keeps any.
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
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

    def _refuse(self, refusal: Refusal, *, bare: bool = False, keep_alive: bool) -> None:
        """`bare`: without the body, as HEAD has it."""
        if self.transport.is_closing():
            return
        self.cycle = REFUSED
        head = head_of(refusal.headers)
        closes = head.closes or not keep_alive
        content = whole_head(refusal.status, self.server_state.default_headers, head, closes=closes)
        self.transport.write(content if bare else content + refusal.body)
        if closes:
            self.transport.close()
        self.on_response_complete()
