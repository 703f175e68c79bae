"""Heads of answers as they go over the wire; of those that are sent again and again, the lines are made once."""

import functools
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE


class Head(NamedTuple):
    """The lines of an answer's headers, and whether they say that it is the connection's last."""

    lines: bytes
    closes: bool


@functools.lru_cache(maxsize=4096)
def head_of(headers: tuple[tuple[bytes, bytes], ...]) -> Head:
    """Made once."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Head(lines, (b"connection", b"close") in headers)


def whole_head(status: int, defaults: list[tuple[bytes, bytes]], head: Head, *, closes: bool) -> bytes:
    """`defaults` are uvicorn's own: the date."""
    lines = [STATUS_LINE[status]]
    for name, value in defaults:
        lines += (name, b": ", value, b"\r\n")
    lines.append(head.lines)
    lines.append(b"connection: close\r\n\r\n" if closes and not head.closes else b"\r\n")
    return b"".join(lines)
