"""What is refused whatever it is: an answer as a whole, and how to tell a plain request without parsing it."""

import re
from typing import Any, NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]

# A request without a body, whose path stands for itself.
PLAIN = re.compile(rb"GET (/[!-$&->@-~]*)(?:\?[!-~]*)? HTTP/1\.1(?=\r\n)")
# The headers that a refusal depends on, and those that make a request less plain than it looks.
TELLING = re.compile(
    rb"\r\n(accept-language|x-forwarded-proto|connection|content-length|transfer-encoding|expect|upgrade):"
    rb"[ \t]*([^\r\n]*)",
    re.IGNORECASE,
)
FOR_REFUSALS = (b"accept-language", b"x-forwarded-proto")


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def plain_get(data: bytes) -> dict[str, Any] | None:
    """The path and the headers that a refusal depends on, of what was received; None if it is not one plain GET."""
    line = PLAIN.match(data)
    if line is None or data.find(b"\r\n\r\n") != len(data) - 4:
        return None
    headers = [(name.lower(), value) for name, value in TELLING.findall(data)]
    for name, value in headers:
        if name not in FOR_REFUSALS and (name, value.lower()) != (b"connection", b"keep-alive"):
            return None
    return {"path": line[1].decode("ascii"), "headers": headers}
