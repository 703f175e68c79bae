"""The lane refuses what Django's own stack would have refused, and answers with the same headers."""

import pytest

from tests.client import Client, run

TOKEN = "a" * 32  # Django takes any token whose cookie and field are the same
FORM = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={TOKEN}",
    "X-CSRFToken": TOKEN,
}
JSON = {**FORM, "Content-Type": "application/json"}
GOOD_FORM, GOOD_JSON = b"email=ada%40example.com", b'{"email": "ada@example.com"}'
API = "/api/v1/waitlist"
SETTINGS = "tests.reference_settings"


def get(path="/", **headers):
    return "GET", path, b"", {name.replace("_", "-"): value for name, value in headers.items()}


def post(path="/", **headers):
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    return (
        ("POST", path, GOOD_JSON, {**JSON, **own})
        if path == API
        else ("POST", path, GOOD_FORM, {**FORM, **own})
    )


REQUESTS = {
    "a page": get(),
    "the other page": get("/thanks"),
    "head of a page": ("HEAD", "/", b"", {}),
    "a page on a subdomain of an allowed host": get(Host="www.waitlist.example"),
    "a page on the allowed host itself, with a port": get(Host="waitlist.example:8443"),
    "a page in capitals": get(Host="WAITLIST.EXAMPLE"),
    "a page on IPv6": get(Host="[::1]:8000"),
    "a page on another host": get(Host="evil.example"),
    "a page on a host that only ends alike": get(Host="notwaitlist.example"),
    "a page on a host with an @": get(Host="localhost@evil.example"),
    "a page on a host with a path": get(Host="localhost/evil"),
    "a page on a host with a space": get(Host="local host"),
    "a page on an empty host": get(Host=""),
    "a page on a host with a bad port": get(Host="localhost:80:80"),
    "a page on an unclosed IPv6": get(Host="[::1"),
    "put to a page": ("PUT", "/", GOOD_FORM, FORM),
    "delete of a page": ("DELETE", "/", b"", FORM),
    "patch of a page": ("PATCH", "/thanks", GOOD_FORM, FORM),
    "post to thanks": post("/thanks"),
    "get of the API": get(API),
    "put to the API": ("PUT", API, GOOD_JSON, JSON),
    "a join from no browser": post(),
    "a join from this site": post(Origin="http://localhost", Host="localhost"),
    "a join from this site with its port": post(Origin="http://localhost:81", Host="localhost:81"),
    "a join from this site by the other scheme": post(Origin="https://localhost", Host="localhost"),
    "a join from this site by another port": post(Origin="http://localhost:9", Host="localhost:81"),
    "a join from another site": post(Origin="https://evil.example"),
    "a join from nowhere": post(Origin="null"),
    "a join from a trusted site": post(Origin="https://shop.example"),
    "a join from a trusted site by the other scheme": post(Origin="http://shop.example"),
    "a join from a subdomain of a trusted site": post(Origin="https://a.partner.example"),
    "a join from the bare domain of a wildcard": post(Origin="https://partner.example"),
    "a join from a domain that only ends alike": post(Origin="https://notpartner.example"),
    "a join from garbage": post(Origin="https://[evil"),
    "an API join from this site": post(API, Origin="http://localhost", Host="localhost"),
    "an API join from another site": post(API, Origin="https://evil.example"),
    "an API join from a trusted site": post(API, Origin="https://shop.example"),
    "an API join on another host": post(API, Host="evil.example"),
}


@pytest.fixture(scope="module")
def verdicts(module_web):
    """For each request, what the lane and what Django's stack answered."""

    async def ask():
        answers = {}
        for name, (method, path, body, headers) in REQUESTS.items():
            pair = []
            for prefix in ("", "/reference"):
                async with Client(module_web.url) as client:
                    pair.append(await client.request(method, prefix + path, body, headers))
            answers[name] = tuple(pair)
        return answers

    return run(ask())


@pytest.mark.parametrize("name", REQUESTS)
def test_the_verdict_is_the_same(verdicts, name):
    lane, django = verdicts[name]
    expected = {302: 303}.get(django.status, django.status)  # the page's redirect is a 303
    assert lane.status == expected, (lane, django)


@pytest.mark.parametrize("name", ["a page", "the other page", "a join from no browser"])
def test_the_security_headers_are_the_same(verdicts, name):
    lane, django = verdicts[name]
    names = (
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-opener-policy",
        "x-frame-options",
        "content-security-policy",
        "strict-transport-security",
    )
    assert {n: lane.headers.get(n) for n in names} == {n: django.headers.get(n) for n in names}
    assert lane.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "accepted",
    [
        "",
        "de",
        "de-AT,en;q=0.5",
        "en;q=0.5,de;q=0.8",
        "fr",
        "fr,de;q=0.1",
        "*",
        "*;q=0.1,de",
        "x" * 600,
        "de;q=x",
        "zh-Hant",
    ],
)
def test_the_language_is_the_same(module_web, accepted):
    async def ask():
        async with Client(module_web.url) as client:
            headers = {"Accept-Language": accepted} if accepted else {}
            return [await client.request("GET", path, b"", headers) for path in ("/", "/reference/")]

    lane, django = run(ask())
    assert lane.headers["content-language"] == django.headers["content-language"]
    assert "accept-language" in lane.headers["vary"].lower()


@pytest.mark.parametrize("condition", ["same", "*", "other", "list"])
def test_a_page_that_is_known_is_not_sent_again(module_web, condition):
    async def ask():
        async with Client(module_web.url) as client:
            statuses = []
            for path in ("/", "/reference/"):
                first = await client.request("GET", path)
                etag = {
                    "same": first.headers["etag"],
                    "*": "*",
                    "other": '"other"',
                    "list": f'"x", {first.headers["etag"]}',
                }
                answer = await client.request("GET", path, b"", {"If-None-Match": etag[condition]})
                statuses.append(answer.status)
            return statuses

    lane, django = run(ask())
    assert lane == django == (200 if condition == "other" else 304)
