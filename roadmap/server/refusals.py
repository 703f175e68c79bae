"""What is refused whatever it is: an answer as a whole, and what it depends on."""

from collections.abc import Sequence
from typing import NamedTuple

LONGEST = 256  # bytes that are looked at; no path and no header that matters here has as many


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Telling(NamedTuple):
    """What a refusal depends on, each text cut to `LONGEST`: what is refused is kept, and must not be large."""

    path: bytes
    scheme: str  # of the connection
    accept_language: bytes  # the first one
    forwarded_proto: bytes  # all of them


def telling(target: bytes, scheme: str, headers: Sequence[tuple[bytes, bytes]]) -> Telling:
    """Of a request; `target`: path and query."""
    accept_language = forwarded_proto = b""
    for name, value in headers:
        if name == b"accept-language":
            accept_language = accept_language or value
        elif name == b"x-forwarded-proto":
            forwarded_proto = forwarded_proto + b"," + value if forwarded_proto else value
    path = target.partition(b"?")[0]
    return Telling(path[:LONGEST], scheme, accept_language[:LONGEST], forwarded_proto[-LONGEST:])
