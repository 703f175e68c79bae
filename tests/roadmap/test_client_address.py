"""Who asks, and over which scheme, through a stated number of proxies."""

from hypothesis import given
from hypothesis import strategies as st

from roadmap.server.client import see_through


def seen(hops: int, *headers: tuple[bytes, bytes]) -> tuple[str, str]:
    scope = {"headers": list(headers), "client": ("10.0.0.1", 5000), "scheme": "http"}
    see_through(scope, hops)
    return scope["client"][0], scope["scheme"]


def test_the_entry_that_the_outermost_trusted_proxy_added_is_the_client():
    header = (b"x-forwarded-for", b"6.6.6.6, 198.51.100.1, 10.0.0.9")
    assert seen(1, header)[0] == "10.0.0.9"
    assert seen(2, header)[0] == "198.51.100.1"


def test_several_headers_are_one_list():
    headers = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-forwarded-for", b"10.0.0.9")]
    assert seen(2, *headers)[0] == "198.51.100.1"


def test_with_fewer_entries_than_proxies_the_peer_stays():
    assert seen(1)[0] == "10.0.0.1"
    assert seen(3, (b"x-forwarded-for", b"198.51.100.1"))[0] == "10.0.0.1"


def test_ports_and_brackets_are_left_out():
    assert seen(1, (b"x-forwarded-for", b"198.51.100.1:443"))[0] == "198.51.100.1"
    assert seen(1, (b"x-forwarded-for", b"[2001:db8::1]:443"))[0] == "2001:db8::1"
    assert seen(1, (b"x-forwarded-for", b"2001:db8::1"))[0] == "2001:db8::1"


def test_the_scheme_is_the_proxys_word():
    assert seen(1, (b"x-forwarded-proto", b"https"))[1] == "https"
    assert seen(1, (b"x-forwarded-proto", b"http, https"))[1] == "https"
    assert seen(2, (b"x-forwarded-proto", b"HTTPS, http"))[1] == "https"
    assert seen(1, (b"x-forwarded-proto", b"gopher"))[1] == "http"


@given(st.binary(max_size=100), st.binary(max_size=20), st.integers(1, 10))
def test_nothing_that_is_sent_breaks_it(forwarded, proto, hops):
    address, scheme = seen(hops, (b"x-forwarded-for", forwarded), (b"x-forwarded-proto", proto))
    assert address
    assert scheme in ("http", "https")


def test_the_running_site_ignores_forwarded_headers_unless_told_of_proxies(web):
    # Django redirects nothing and trusts no header: the scheme shows in what it takes for its own origin.
    headers = {"X-Forwarded-Proto": "https", "Origin": web.url, "Content-Type": "application/json"}
    assert web.join("plain@example.com", headers=headers).status_code == 202


def test_the_running_site_takes_its_proxys_scheme(start, database):
    web = start("web", database, TRUSTED_PROXIES="1")
    secure = web.url.replace("http://", "https://")
    headers = {"X-Forwarded-Proto": "https", "Origin": secure, "Content-Type": "application/json"}
    assert web.join("secure@example.com", headers=headers).status_code == 202
    headers["X-Forwarded-Proto"] = "http"
    assert web.join("secure@example.com", headers=headers).status_code == 403
