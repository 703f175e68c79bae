"""`ALLOWED_HOSTS` and the lists of origins: what is taken can match, and what cannot is refused by name."""

import pytest
from django.http.request import split_domain_port, validate_host
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st

from roadmap.environment import BadValue
from roadmap.origins import read_hosts, read_origins
from tests.service import manage
from waitlist import rules

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z0-9]{1,5}){0,3}", fullmatch=True)
ENTRIES = st.one_of(
    NAMES,
    st.builds(".{}".format, NAMES),
    st.builds("{}:{}".format, NAMES, st.integers(0, 70000)),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map("[{}]".format),
    st.text(st.sampled_from("aA1.-_*[]:/@ é\x00"), max_size=8),
)
SCHEMES = st.sampled_from(["http://", "https://", "capacitor://", "HTTPS://", "https:/", "//", ""])
ORIGINS = st.builds("{}{}{}".format, SCHEMES, st.sampled_from(["", "*."]), ENTRIES) | st.text(max_size=12)


@given(st.lists(ENTRIES, max_size=4), st.sampled_from([",", ", ", " , "]))
@example(["example.com", ".example.com", "[::1]", "127.0.0.1", "*", "Example.COM"], ", ")
@example(["example.com."], ",")
def test_every_host_that_is_taken_is_one_that_a_request_can_have(entries: list[str], between: str):
    try:
        hosts = read_hosts("ALLOWED_HOSTS", between.join(entries))
    except BadValue:
        return
    assert hosts == [entry.strip() for entry in entries if entry.strip()]
    for host in hosts:
        domain, _ = split_domain_port("a.example" if host == "*" else host.removeprefix("."))
        assert validate_host(domain, [host]), "Django answers to it"


@given(NAMES, st.sampled_from(["", "."]))
def test_every_name_is_taken(name: str, dot: str):
    assert read_hosts("ALLOWED_HOSTS", f" {dot}{name} ,") == [dot + name]


@given(st.lists(ORIGINS, max_size=4), st.booleans())
@example(["https://a.example:443"], False)
@example(["https://[::1]:8000", "http://my_host:3000", "capacitor://localhost"], False)
def test_every_origin_that_is_taken_is_one_that_a_browser_can_send(entries: list[str], wildcards: bool):
    try:
        origins = read_origins("CORS_ALLOWED_ORIGINS", entries, wildcards=wildcards)
    except BadValue:
        return
    assert origins == [entry.strip() for entry in entries if entry.strip()]
    for origin in origins:
        sent = origin.replace("*", "shop")
        assert sent == sent.lower()
        assert sent.isascii()
        scheme, _, rest = sent.partition("://")
        assert scheme
        assert rest
        assert not set(rest) & set("/?#@* ")
        assert not wildcards or trusts(origin, sent)


def trusts(origin: str, sent: str) -> bool:
    """Whether the site takes what an origin posts."""
    with override_settings(CSRF_TRUSTED_ORIGINS=[origin]):
        rules.trusted_origin.cache_clear()
        return rules.trusted_origin(sent, "https", "waitlist.example")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("CORS_ALLOWED_ORIGINS", "*", "'*'"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example/", "'https://a.example/'"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example, b.example", "'b.example'"),
        ("CORS_ALLOWED_ORIGINS", "https://*.a.example", "'https://*.a.example'"),
        ("CORS_ALLOWED_ORIGINS", "https://A.example", "'https://A.example'"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example:443", "'https://a.example:443'"),
        ("CORS_ALLOWED_ORIGINS", "null", "'null'"),
        ("CSRF_TRUSTED_ORIGINS", "https://a.example/shop", "'https://a.example/shop'"),
        ("CSRF_TRUSTED_ORIGINS", "https://*", "'https://*'"),
        ("ALLOWED_HOSTS", "a.example, b example", "'b example'"),
        ("ALLOWED_HOSTS", "https://a.example", "'https://a.example'"),
        ("ALLOWED_HOSTS", "a.example:8000", "'a.example:8000'"),
        ("ALLOWED_HOSTS", "::1", "'::1'"),
        ("ALLOWED_HOSTS", "*.a.example", "'*.a.example'"),
        ("ALLOWED_HOSTS", " , ", "' , '"),
    ],
)
def test_a_bad_one_stops_the_start_in_a_sentence(name: str, value: str, shown: str):
    done = manage("postgresql://roadmap@127.0.0.1:1/roadmap_db", "check", **{name: value})
    assert done.returncode != 0
    assert done.stderr.startswith(f"{name} is {shown}; it takes ")
    assert done.stderr.count("\n") == 1


def test_spaces_around_a_name_are_none_of_it():
    assert read_hosts("ALLOWED_HOSTS", "a.example, b.example") == ["a.example", "b.example"]
    assert read_origins("X", ["https://a.example", " https://b.example "]) == [
        "https://a.example",
        "https://b.example",
    ]
