"""One request and its answer, as `roadmap.server.http` has them."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from roadmap.server.heads import head_of, whole_head


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    def __init__(self, protocol: HttpToolsProtocol, scope: dict[str, Any], keep_alive: bool):
        self.loop = protocol.loop
        self.scope = scope  # type: ignore[assignment]
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.access_log = False
        self.default_headers = protocol.server_state.default_headers
        self.on_response = protocol.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body = b""  # type: ignore[assignment]
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        self._news = False
        self._reader: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # of an answer that has begun, until its body is there

    @property
    def message_event(self) -> "Cycle":  # type: ignore[override]
        """Itself; kept as an attribute, it would leave every request to the search for garbage."""
        return self

    def set(self) -> None:
        """There is news for `receive`: more of the body, its end, the answer's end, or the client has gone."""
        self._news = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def receive(self) -> Any:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self._news and not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            self._reader = self.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""  # type: ignore[assignment]
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: MutableMapping[str, Any]) -> None:  # type: ignore[override]
        """As uvicorn's; an answer whose headers are a tuple has its whole body in one message."""
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
        self.transport.write(head if self.scope["method"] == "HEAD" else head + body)
        self.response_complete = True
        self.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Refused:
    """Stands for a cycle whose answer is complete: what else comes of its request is passed over."""

    response_complete = True

    @property
    def message_event(self) -> "Refused":
        return self

    def set(self) -> None:
        """Nobody waits for news."""


REFUSED = cast(Cycle, Refused())
