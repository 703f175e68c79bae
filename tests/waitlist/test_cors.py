"""Scripts of the origins that are allowed may join people and read the answer; those of others may not."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.client import API, Answer, Client, run
from tests.conftest import copy_database
from tests.service import Service

ALLOWED, OTHER_ALLOWED, FOREIGN = "https://shop.example", "http://localhost:3000", "https://evil.example"
GOOD = b'{"email": "ada@example.com"}'
JSON = "application/json"


@pytest.fixture(scope="module")
def web(postgres, tmp_path_factory) -> Iterator[Service]:
    web = Service(
        "web",
        copy_database(postgres).url,
        tmp_path_factory.mktemp("web") / "web.log",
        CORS_ALLOWED_ORIGINS=f"{ALLOWED}, {OTHER_ALLOWED}",
        JOIN_RATE_LIMIT="3/0.001",
        TRUSTED_PROXIES="1",  # a client for each test
    )
    yield web.start()
    web.kill()


def ask(web, method: str, body: bytes = b"", path: str = API, client: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if client:
        named["X-Forwarded-For"] = client

    async def one() -> Answer:
        async with Client(web.url) as connection:
            return await connection.request(method, path, body, named)

    return run(one())


def preflight(web, origin: str, path: str = API) -> Answer:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    return ask(web, "OPTIONS", path=path, Origin=origin, **asked)


def cors(answer: Answer) -> dict[str, str]:
    prefix = "access-control-"
    return {n.removeprefix(prefix): value for n, value in answer.headers.items() if n.startswith(prefix)}


@pytest.mark.parametrize("origin", [ALLOWED, OTHER_ALLOWED])
def test_an_allowed_origin_may_ask(web, origin):
    answer = preflight(web, origin)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers, "which an answer of that status has not"
    assert cors(answer) == {
        "allow-origin": origin,
        "allow-methods": "POST",
        "allow-headers": "content-type",
        "max-age": "86400",
        "expose-headers": "Retry-After",
    }
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "*",
        "",
        "https://SHOP.example",  # browsers write it in small letters
        "http://shop.example",
        "https://shop.example:8443",
        "https://a.shop.example",
        "https://shop.example.evil.example",
        f"{ALLOWED},{FOREIGN}",
        f"{ALLOWED}/",
    ],
)
def test_another_origin_may_not(web, origin):
    answer = preflight(web, origin)
    assert (answer.status, cors(answer)) == (204, {})
    assert answer.headers["vary"] == "Origin"
    refused = ask(web, "POST", GOOD, Origin=origin, Content_Type=JSON)
    assert (refused.status, cors(refused)) == (403, {})


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (GOOD, JSON, 202),
        (b'{"email": "ada"}', JSON, 422),
        (b"[", JSON, 400),
        (GOOD, "text/plain", 415),
        (GOOD + b" " * 5_000, JSON, 413),
    ],
)
def test_its_script_can_read_every_answer(web, body, content_type, status):
    answer = ask(
        web, "POST", body, client=f"192.0.2.{status % 250}", Origin=ALLOWED, Content_Type=content_type
    )
    assert answer.status == status
    assert cors(answer) == {"allow-origin": ALLOWED, "expose-headers": "Retry-After"}
    assert answer.headers["vary"] == "Origin"
    assert json.loads(answer.body)


def test_it_can_read_when_to_come_back(web):
    def join() -> Answer:
        return ask(web, "POST", GOOD, client="198.51.100.1", Origin=ALLOWED, Content_Type=JSON)

    assert [join().status for _ in range(3)] == [202] * 3
    refused = join()
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert cors(refused) == {"allow-origin": ALLOWED, "expose-headers": "Retry-After"}


def test_it_can_read_that_a_join_could_not_be_stored(web):
    with psycopg.connect(web.database_url) as holder:
        holder.execute("LOCK TABLE waitlist_entry")
        answer = ask(web, "POST", GOOD, client="192.0.2.3", Origin=ALLOWED, Content_Type=JSON)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert cors(answer) == {"allow-origin": ALLOWED, "expose-headers": "Retry-After"}


def test_who_sends_no_origin_is_told_that_answers_differ_by_it(web):
    """A cache between us must not give one origin's answer to another."""
    answer = ask(web, "POST", GOOD, client="192.0.2.1", Content_Type=JSON)
    assert (answer.status, answer.headers["vary"], cors(answer)) == (202, "Origin", {})


@pytest.mark.parametrize("path", ["/", "/thanks"])
def test_the_pages_are_no_api(web, path):
    answer = ask(web, "GET", path=path, Origin=ALLOWED)
    assert (answer.status, cors(answer)) == (200, {})
    assert preflight(web, ALLOWED, path).status == 405


def test_without_a_list_nobody_may_and_nothing_differs(module_web):
    answer = preflight(module_web, ALLOWED)
    assert (answer.status, cors(answer)) == (204, {})
    assert "vary" not in answer.headers
    assert ask(module_web, "POST", GOOD, Origin=ALLOWED, Content_Type=JSON).status == 403
