"""Whatever is sent, a join is taken or refused in a sentence: never a 5xx, never a row that was not answered for.

Requests go as raw bytes to a running server over connections that are kept alive.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.client import API, Answer
from tests.service import query
from waitlist.addresses import BadAddress, BadSource, clean_source, normalise

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

SURROGATES = st.characters(categories=["Cs"])
ANY = st.text(max_size=40) | st.text(st.characters() | SURROGATES, max_size=10)
LOCAL = st.from_regex(r"[a-z0-9]{1,12}([.+-][a-z0-9]{1,8})?", fullmatch=True)
EMAIL = st.builds("{}@{}.example".format, LOCAL, st.from_regex(r"[A-Za-z0-9]{1,12}", fullmatch=True))
BAD_EMAIL = st.one_of(
    ANY,
    st.builds("{}\x00{}".format, LOCAL, EMAIL),
    st.builds("\u202e{}".format, EMAIL),
    st.builds("{}\u200f@example.com".format, LOCAL),
    st.builds("{}\ud800@example.com".format, LOCAL),
    st.just("a" * 9_988 + "@example.com"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3)
)
BYTE, PLACE = st.integers(0, 255), st.integers(0, 60)
ENCODINGS = st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])
SURROGATE_CODES = st.integers(0xD800, 0xDFFF)


def dumped(content: object, *, ascii_only: bool = True) -> bytes:
    return json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


OBJECTS = st.fixed_dictionaries(
    {"email": EMAIL | BAD_EMAIL | VALUES}, optional={"source": ANY | VALUES, "more": VALUES}
)
API_BODIES = st.one_of(
    st.builds(dumped, OBJECTS, ascii_only=st.booleans()),
    st.builds(dumped, st.fixed_dictionaries({"email": EMAIL})),
    st.builds(dumped, VALUES),
    st.binary(max_size=200),
    st.sampled_from([b"", b"null", b"[]", b"{", b'"', b"NaN", b"{}", b"-", b"\xef\xbb\xbf{}", b"1e999"]),
    st.builds(
        lambda n, c: c * n, st.integers(1, 2_000), st.sampled_from([b"[", b'{"a":', b'{"email":[', b"("])
    ),
    st.builds(lambda e: dumped({"email": e, "padding": "x" * 5_120}), EMAIL),
    st.builds(
        lambda e, c: dumped({"email": e}).decode().encode(c),
        EMAIL,
        ENCODINGS,
    ),
    st.builds(lambda e: b'{"email": "%s", "email": "%s"}' % (e.encode(), e.encode()), EMAIL),
    st.builds(lambda e, code: b'{"email": "%s\\u%04x"}' % (e.encode(), code), EMAIL, SURROGATE_CODES),
    st.builds(lambda e, cut: dumped({"email": e})[:cut], EMAIL, PLACE),
    st.builds(
        lambda e, at, byte: spoilt(dumped({"email": e}), at, byte),
        EMAIL,
        st.integers(0, 60),
        st.integers(0, 255),
    ),
)
FORM_BODIES = st.one_of(
    st.builds(
        lambda fields: urlencode(fields, errors="surrogatepass").encode(),
        st.fixed_dictionaries(
            {"email": EMAIL | BAD_EMAIL}, optional={"source": ANY, "website": st.just("") | ANY, "more": ANY}
        ),
    ),
    st.builds(lambda e: urlencode({"email": e, "source": "", "website": ""}).encode(), EMAIL),
    st.binary(max_size=200),
    st.sampled_from([b"", b"&", b"=", b"email", b"email=%", b"email=%ff%fe", b"email=%00", b"&" * 3_000]),
    st.builds(lambda e: b"email=" + e.encode() + b"&x=" * 100, EMAIL),
    st.builds(lambda e: b"email=" + e.encode() + b"&padding=" + b"x" * 5_120, EMAIL),
    st.builds(
        lambda e, at, byte: spoilt(b"email=" + e.encode(), at, byte),
        EMAIL,
        st.integers(0, 60),
        st.integers(0, 255),
    ),
)


def spoilt(body: bytes, at: int, byte: int) -> bytes:
    at %= len(body)
    return body[:at] + bytes([byte]) + body[at + 1 :]


class Wire:
    """One connection, kept alive from request to request, and what has been taken over it."""

    def __init__(self, port: int):
        self.port = port
        self.taken: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self._socket: socket.socket | None = None
        self._received = b""

    def post(self, path: str, content_type: str, body: bytes) -> Answer:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        return self.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def send(self, request: bytes) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            self._received = b""
        started = time.monotonic()
        self._socket.sendall(request)
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
        length = int(headers.get("content-length", "0"))
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        if headers.get("connection") == "close":
            self.close()
        self.statuses[status] += 1
        return Answer(status, headers, body, time.monotonic() - started)

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(end)
        return head

    def _receive(self) -> None:
        assert self._socket is not None
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the server ended the connection without an answer")
        self._received += part

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.fixture
def wire(web) -> Iterator[Wire]:
    wire = Wire(web.port)
    yield wire
    wire.close()


def is_taken(email: object, source: object) -> bool:
    try:
        if not isinstance(email, str) or not isinstance(source, str):
            return False
        normalise(email)
        clean_source(source)
    except (BadAddress, BadSource):
        return False
    return True


def only_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def address_in_json(body: bytes) -> str | None:
    """The normalised address if this body should be taken; by Python's own reading of the standard."""
    try:
        content = json.loads(body.decode("utf-8"), object_pairs_hook=only_once)
    except (ValueError, RecursionError):
        return None
    if len(body) > 4096 or not isinstance(content, dict):
        return None
    email = content.get("email")
    return normalise(email) if is_taken(email, content.get("source", "")) else None


def address_in_form(body: bytes) -> tuple[bool, str | None]:
    """Whether it should be answered as a success, and the address that should be stored then."""
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        return False, None
    if len(body) > 4096:
        return False, None
    email, source, trap = (fields.get(name, [""])[-1] for name in ("email", "source", "website"))
    if trap:
        return True, None
    return (True, normalise(email)) if is_taken(email, source) else (False, None)


def rows(url: str) -> set[str]:
    return {row[0] for row in query(url, "SELECT normalised FROM waitlist_entry")}


def assert_refused_in_a_sentence(answer: Answer, statuses: set[int]) -> None:
    assert answer.status in statuses, answer
    assert answer.headers["content-type"] == "application/problem+json", answer
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    assert problem["detail"].strip()
    assert (answer.status == 422) == bool(problem.get("errors"))


ALL = settings(max_examples=1500, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def test_the_api_takes_good_bodies_and_refuses_all_others_in_a_sentence(web, wire, database):
    @ALL
    @given(API_BODIES)
    def post(body: bytes) -> None:
        good = address_in_json(body)
        answer = wire.post(API, JSON, body)
        if good is None:
            assert_refused_in_a_sentence(answer, {400, 413, 422})
        else:
            assert answer.status == 202, answer
            wire.taken.add(good)

    post()
    assert wire.statuses.total() >= 1500
    assert {202, 400, 413, 422} == set(wire.statuses)
    assert rows(database.url) == wire.taken
    assert web.health()["status"] == "pass"


def test_the_page_takes_good_forms_and_refuses_all_others(web, wire, database):
    @ALL
    @given(FORM_BODIES)
    def post(body: bytes) -> None:
        success, stored = address_in_form(body)
        answer = wire.post("/", FORM, body)
        if success:
            assert (answer.status, answer.headers["location"]) == (303, "/thanks")
            if stored is not None:
                wire.taken.add(stored)
        else:
            assert answer.status in {400, 413, 422}, answer
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert b"<form" in answer.body
            assert b'<span id="email-error"></span>' not in answer.body

    post()
    assert wire.statuses.total() >= 1500
    assert {303, 400, 413, 422} == set(wire.statuses)
    assert rows(database.url) == wire.taken
    assert web.health()["status"] == "pass"
