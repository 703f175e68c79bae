"""The lane refuses what Django's own stack would have refused, and answers with the same headers."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.client import API, Answer, Client, run
from tests.conftest import copy_database
from tests.service import Service

TOKEN = "a" * 32  # Django takes any token whose cookie and field are the same
FORM = {
    "Content_Type": "application/x-www-form-urlencoded",
    "Cookie": f"csrftoken={TOKEN}",
    "X_CSRFToken": TOKEN,
}
JSON = {**FORM, "Content_Type": "application/json"}
GOOD_FORM, GOOD_JSON = b"email=ada%40example.com", b'{"email": "ada@example.com"}'
SHOP = "https://shop.example"


class Asked(NamedTuple):
    """A request; its headers are lines, so that one may come twice. Without a `Host` among them it gets none."""

    method: str
    path: str
    lines: tuple[str, ...]
    body: bytes = b""
    version: str = "1.1"

    def raw(self, prefix: str, *more: str) -> bytes:
        lines = (f"{self.method} {prefix}{self.path} HTTP/{self.version}", *self.lines, *more)
        length = f"Content-Length: {len(self.body)}"
        return "\r\n".join([*lines, length, "", ""]).encode("latin-1") + self.body


def ask(method: str, path: str = "/", body: bytes = b"", version: str = "1.1", **headers: str) -> Asked:
    given = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Asked(method, path, tuple(f"{n}: {v}" for n, v in given.items()), body, version)


def get(path: str = "/", **headers: str) -> Asked:
    return ask("GET", path, **headers)


def post(path: str = "/", body: bytes = b"", **headers: str) -> Asked:
    good = GOOD_JSON if path == API else GOOD_FORM
    return ask("POST", path, body or good, **{**(JSON if path == API else FORM), **headers})


def without_host(asked: Asked, version: str) -> Asked:
    return asked._replace(lines=tuple(li for li in asked.lines if "Host:" not in li), version=version)


def with_two_hosts(asked: Asked, other: str) -> Asked:
    return asked._replace(lines=(*asked.lines, f"Host: {other}"))


REQUESTS = {
    "a page": get(),
    "the other page": get("/thanks"),
    "head of a page": ask("HEAD"),
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
    "put to a page": ask("PUT", "/", GOOD_FORM, **FORM, Origin=SHOP),
    "delete of a page": ask("DELETE", **FORM, Origin=SHOP),
    "patch of a page": ask("PATCH", "/thanks", GOOD_FORM, **FORM, Origin=SHOP),
    "post to thanks": post("/thanks", Origin=SHOP),
    "get of the API": get(API),
    "put to the API": ask("PUT", API, GOOD_JSON, **JSON, Origin=SHOP),
    "options of a page": ask("OPTIONS"),
    "options of the other page": ask("OPTIONS", "/thanks"),
    "a page on no host": without_host(get(), "1.0"),
    "a page on no host, where one is needed": without_host(get(), "1.1"),
    "a page on a host named twice": with_two_hosts(get(), "localhost"),
    "a page on two hosts": with_two_hosts(get(), "evil.example"),
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
    "a join on no host": without_host(post(Origin="https://shop.example"), "1.0"),
    "a join on two hosts": with_two_hosts(post(Origin="https://shop.example"), "evil.example"),
    **{
        f"{join}, {where}, which the browser calls {site}": post(path, Origin=origin, Sec_Fetch_Site=site)
        for join, path in (("a join", "/"), ("an API join", API))
        for site in ("same-origin", "same-site", "cross-site", "none")
        for where, origin in (("from another site", "https://evil.example"), ("from a trusted site", SHOP))
    },
    **{
        f"a join sent from {where}": post(Referer=address)
        for where, address in {
            "this site": "https://localhost/",
            "this site's other page": "https://localhost/thanks?a=b",
            "a trusted site": f"{SHOP}/offer",
            "a subdomain of a trusted site": "https://a.partner.example/x",
        }.items()
    },
}
# What Django refuses over https alone.
REFERERS = {
    "another site": "https://evil.example/",
    "this site without TLS": "http://localhost/",
    "this site by another port": "https://localhost:9/",
    "a trusted site without TLS": "http://shop.example/",
    "a site that only ends alike": "https://notpartner.example/",
    "an address without a host": "/thanks",
    "nothing": "",
    "garbage": "https://[evil",
}
REQUESTS |= {f"a join sent from {where}": post(Referer=address) for where, address in REFERERS.items()}
REQUESTS["a join that the browser calls same-origin, sent from another site"] = post(
    Referer="https://evil.example/", Sec_Fetch_Site="same-origin"
)
# What the lane answers by itself, and why Django would not.
ALONE = {
    # Programs send no Referer, and there is no session that they could abuse: over https Django insists on one.
    "a join from no browser": (post(), 303),
    "an API join from no browser": (post(API), 202),
    "a join that somebody typed": (post(Sec_Fetch_Site="none"), 303),
    "a join that the browser calls same-origin": (post(Sec_Fetch_Site="same-origin"), 303),
    # The lane has no token to look at, so the browser's own word has to do.
    "a join that the browser calls cross-site": (post(Sec_Fetch_Site="cross-site"), 403),
    "a join that the browser calls same-site": (post(Sec_Fetch_Site="same-site"), 403),
    # A host name has at most 253 characters; Django counts none.
    "a page on a host past all lengths": (get(Host=f"{'a.' * 300}waitlist.example"), 400),
    "a join from an origin past all lengths": (post(Origin=f"https://{'a.' * 300}partner.example"), 403),
    # A page of Django's takes 64 KiB, and more is refused in front of it.
    "a join of 5 KiB": (post(body=GOOD_FORM + b"&x=" + b"x" * 5_000, Origin=SHOP), 413),
    "an API join of 5 KiB": (post(API, GOOD_JSON + b" " * 5_000, Origin=SHOP), 413),
    "a join of 70 KiB": (post(body=GOOD_FORM + b"&x=" + b"x" * 70_000, Origin=SHOP), 413),
    "an API join of 70 KiB": (post(API, GOOD_JSON + b" " * 70_000, Origin=SHOP), 413),
}


class Site(NamedTuple):
    """A web server, and what a proxy in front of it adds to each request."""

    web: Service
    scheme: str
    added: tuple[str, ...]

    def answers(self, asked: Asked) -> tuple[Answer, Answer]:
        """The lane's, and that of Django's stack."""

        async def both() -> tuple[Answer, Answer]:
            async with Client(self.web.url) as lane, Client(self.web.url) as django:
                return (
                    await lane.send(asked.raw("", *self.added)),
                    await django.send(asked.raw("/reference", *self.added)),
                )

        return run(both())


@pytest.fixture(scope="module", params=["http", "https"])
def site(request, postgres, tmp_path_factory) -> Iterator[Site]:
    """In development over plain HTTP; in production behind a proxy that ends TLS."""
    production = {"ENVIRONMENT": "production", "ALLOWED_HOSTS": "localhost", "TRUSTED_PROXIES": "1"}
    web = Service(
        "web",
        copy_database(postgres).url,
        tmp_path_factory.mktemp("web") / "web.log",
        DJANGO_SETTINGS_MODULE="tests.reference_settings",
        **(production if request.param == "https" else {}),
    )
    added = ("X-Forwarded-Proto: https",) if request.param == "https" else ()
    try:
        yield Site(web.start(), request.param, added)
    finally:
        web.kill()


@pytest.mark.parametrize("name", REQUESTS)
def test_the_verdict_is_the_same(site, name):
    lane, django = site.answers(REQUESTS[name])
    expected = {302: 303}.get(django.status, django.status)  # the page's redirect is a 303
    assert lane.status == expected, (lane, django)


@pytest.mark.parametrize("name", [f"a join sent from {where}" for where in REFERERS])
def test_a_foreign_referer_is_refused_over_https_alone(site, name):
    """So that both cannot be wrong in the same way."""
    lane, _ = site.answers(REQUESTS[name])
    assert lane.status == (403 if site.scheme == "https" else 303)


def test_without_a_host_this_site_is_the_address_that_was_connected_to(site):
    for port, status in ((site.web.port, 303), (site.web.port + 1, 403)):
        own = post(Origin=f"{site.scheme}://127.0.0.1:{port}")
        lane, django = site.answers(without_host(own, "1.0"))
        assert lane.status == {302: 303}.get(django.status, django.status)
        if (
            site.scheme == "http"
        ):  # in production it is an IPv6 address, which neither takes without its brackets
            assert lane.status == status


@pytest.mark.parametrize("name", ALONE)
def test_what_the_lane_judges_by_itself(site, name):
    asked, status = ALONE[name]
    lane, django = site.answers(asked)
    assert lane.status == status
    if "70 KiB" in name:
        assert django.status == 413


@pytest.mark.parametrize("asked", [get(), get("/thanks"), post(Origin=SHOP)], ids=["page", "thanks", "join"])
def test_the_security_headers_are_the_same(site, asked):
    lane, django = site.answers(asked)
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
    assert ("strict-transport-security" in lane.headers) == (site.scheme == "https")


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
        "de," + "x" * 600,
        "fr;q=0.1, " * 60 + "de",
        "de;q=x",
        "zh-Hant",
    ],
)
def test_the_language_is_the_same(site, accepted):
    lane, django = site.answers(get(Accept_Language=accepted) if accepted else get())
    assert lane.headers["content-language"] == django.headers["content-language"]
    assert "accept-language" in lane.headers["vary"].lower()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{etag}", 304),
        ("{strong}", 304),
        ("*", 304),
        (" * ", 304),
        ('"other", {etag}', 304),
        ('"other",{strong}', 304),
        ('"other"', 200),
        ("{bare}", 200),
        ('"x{bare}"', 200),
        ('"*"', 200),
        ("", 200),
    ],
)
def test_a_page_that_is_known_is_not_sent_again(site, method, condition, status):
    statuses = []
    for number in (0, 1):
        etag = site.answers(get())[number].headers["etag"]
        strong = etag.removeprefix("W/")
        known = condition.format(etag=etag, strong=strong, bare=strong.strip('"'))
        statuses.append(site.answers(ask(method, If_None_Match=known))[number].status)
    assert statuses == [status, status]
