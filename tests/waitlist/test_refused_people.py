"""Who is refused on a page gets the page with a sentence, in their language; programs get a problem document."""

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest

from tests.client import API, Answer, Client, run
from tests.conftest import copy_database
from tests.service import Service

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
GOOD = b"email=ada%40example.com"
UNREADABLE = "Your browser sent something that we could not read."
# What is asked, the status, and how the sentence begins.
REFUSED: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "a form that is none": ({}, b"email=%ff", 400, UNREADABLE),
    "another host": ({"Host": "evil.example"}, GOOD, 400, UNREADABLE),
    "another site's form": ({"Origin": "https://evil.example"}, GOOD, 403, "The form was sent from a page"),
    "a body that is too long": ({}, GOOD + b"&x=" + b"x" * 5_000, 413, "What you sent is too long"),
    "another type": ({"Content-Type": "text/plain"}, GOOD, 415, UNREADABLE),
}


@pytest.fixture(scope="module")
def web(postgres, tmp_path_factory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("web") / "web.log"
    variables = {"JOIN_RATE_LIMIT": "1/0.001", "TRUSTED_PROXIES": "1", "JOIN_DEADLINE": "0.5"}
    web = Service("web", copy_database(postgres).url, log, **variables)
    yield web.start()
    web.kill()


def ask(web, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    async def one() -> Answer:
        async with Client(web.url) as client:
            return await client.request(method, path, body, headers)

    return run(one())


def assert_is_the_page(answer: Answer, status: int, sentence: str, title: str = "Please try again") -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    page = unescape(answer.body.decode())
    assert sentence in re.search(r'<span id="email-error">(.*?)</span>', page)[1]  # type: ignore[index]
    assert title in " ".join(re.search(r"<title>(.*?)</title>", page, re.DOTALL)[1].split())  # type: ignore[index]
    assert '<form class="join-form" method="post" action="/">' in page
    # Only a bad address is the address's fault.
    assert ('aria-invalid="true"' in page) == (status == 422)
    assert re.search(r'id="problem"\s+role="alert">', page), "it is not hidden"


@pytest.mark.parametrize("name", REFUSED)
def test_a_person_gets_the_page_and_the_reason(web, name):
    headers, body, status, sentence = REFUSED[name]
    answer = ask(
        web,
        "POST",
        "/",
        body,
        **{"Content-Type": FORM, "X-Forwarded-For": f"192.0.2.{status % 99}", **headers},
    )
    assert_is_the_page(answer, status, sentence)


@pytest.mark.parametrize("path", ["/", "/thanks"])
def test_a_method_that_a_page_does_not_take(web, path):
    answer = ask(web, "PUT", path)
    assert_is_the_page(answer, 405, UNREADABLE)
    assert answer.headers["allow"].startswith("GET, HEAD")


def test_a_form_that_does_not_arrive(web):
    head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 30\r\n\r\nemail="

    async def begin() -> Answer:
        async with Client(web.url) as client:
            return await client.send(head.encode())

    assert_is_the_page(run(begin()), 408, "What you sent did not arrive in time.")


def test_a_bad_address_is_marked_as_one(web):
    answer = ask(web, "POST", "/", b"email=ada", **{"Content-Type": FORM, "X-Forwarded-For": "198.51.100.1"})
    assert_is_the_page(answer, 422, "An e-mail address needs an @", "Please check your address")


def test_who_comes_too_often_has_no_bad_address(web):
    headers = {"Content-Type": FORM, "X-Forwarded-For": "198.51.100.2"}
    assert ask(web, "POST", "/", GOOD, **headers).status == 303
    answer = ask(web, "POST", "/", GOOD, **headers)
    assert_is_the_page(answer, 429, "Too many people have joined from your network just now.")
    assert int(answer.headers["retry-after"]) > 0


def test_the_reason_is_in_the_visitors_language(web):
    headers = {"Content-Type": FORM, "Origin": "https://evil.example", "Accept-Language": "de"}
    answer = ask(web, "POST", "/", GOOD, **headers)
    assert_is_the_page(
        answer, 403, "Das Formular kam von der Seite einer anderen", "Bitte versuchen Sie es noch"
    )


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"[", 400),
        ({"Host": "evil.example"}, b"{}", 400),
        ({"Origin": "https://evil.example"}, b"{}", 403),
        ({}, b" " * 5_000, 413),
        ({"Content-Type": FORM}, b"{}", 415),
    ],
)
def test_a_program_gets_a_problem(web, headers, body, status):
    named = {"Content-Type": JSON, "X-Forwarded-For": f"203.0.113.{len(body) % 99}", **headers}
    answer = ask(web, "POST", API, body, **named)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(answer.body)["status"] == status
