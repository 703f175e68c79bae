"""How often one client may join."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import Client, run
from waitlist.limits import BadRate, Limiter, Rate, read_rate


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_the_rate():
    clock = Clock()
    limiter = Limiter(Rate(5, 2), clock=clock)
    assert [limiter.wait("192.0.2.1") for _ in range(5)] == [0.0] * 5
    assert limiter.wait("192.0.2.1") == pytest.approx(0.5)
    clock.now += 0.5
    assert limiter.wait("192.0.2.1") == 0.0
    assert limiter.wait("192.0.2.1") > 0


def test_a_refused_join_does_not_push_the_next_one_away():
    clock = Clock()
    limiter = Limiter(Rate(1, 1), clock=clock)
    limiter.wait("192.0.2.1")
    for _ in range(100):
        assert limiter.wait("192.0.2.1") == pytest.approx(1.0)


def test_clients_are_told_apart_by_address_and_ipv6_by_64():
    limiter = Limiter(Rate(1, 1), clock=Clock())
    assert limiter.wait("192.0.2.1") == limiter.wait("192.0.2.2") == 0.0
    assert limiter.wait("2001:db8:0:1::1") == 0.0
    assert limiter.wait("2001:db8:0:1:ffff::2") > 0
    assert limiter.wait("2001:db8:0:2::1") == 0.0
    assert limiter.wait("::ffff:192.0.2.1") > 0


def test_of_more_clients_than_fit_the_one_seen_longest_ago_is_forgotten():
    limiter = Limiter(Rate(1, 1), clients=3, clock=Clock())
    for address in ("a", "b", "c"):
        assert limiter.wait(address) == 0.0
    assert limiter.wait("a") > 0  # seen again: b is the oldest now
    assert limiter.wait("d") == 0.0
    assert limiter.wait("a") > 0
    assert limiter.wait("b") == 0.0


@given(st.lists(st.floats(0, 3), max_size=300), st.integers(1, 20), st.floats(0.1, 50))
def test_no_client_ever_gets_more_than_its_burst_and_rate(pauses, burst, per_second):
    clock = Clock()
    limiter = Limiter(Rate(burst, per_second), clock=clock)
    started, allowed = clock.now, 0
    for pause in pauses:
        clock.now += pause
        allowed += limiter.wait("192.0.2.1") == 0.0
        assert allowed <= burst + (clock.now - started) * per_second + 1e-6


@given(st.text())
def test_a_rate_is_read_strictly(text):
    try:
        rate = read_rate(text)
    except BadRate:
        return
    assert rate is None or (rate.burst >= 1 and rate.per_second > 0)


@pytest.mark.parametrize("text", ["", "0/1", "1/0", "-1/1", "5", "5/", "a/b", "OFF", "1/1/1", " 5/1"])
def test_a_rate_that_is_none_is_refused(text):
    with pytest.raises(BadRate, match="JOIN_RATE_LIMIT"):
        read_rate(text)


def test_the_running_site_refuses_with_429_and_when_to_come_back(start, database):
    web = start("web", database, JOIN_RATE_LIMIT="3/0.5")

    async def join_on() -> None:
        async with Client(web.url) as client:
            statuses = [(await client.join(f"p{n}@example.com")).status for n in range(3)]
            assert statuses == [202] * 3
            refused = await client.join("p4@example.com")
            assert refused.status == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert 1 <= int(refused.headers["retry-after"]) <= 2
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            page = await client.request("POST", "/", b"email=p5@example.com", form)
            assert (page.status, page.headers["content-type"]) == (429, "text/html; charset=utf-8")
            assert "retry-after" in page.headers
            assert (await client.request("GET", "/")).status == 200
            # Nobody's word about where they come from counts without a proxy.
            headers = {"X-Forwarded-For": "198.51.100.7", "Content-Type": "application/json"}
            lie = await client.request("POST", "/api/v1/waitlist", b'{"email":"p6@example.com"}', headers)
            assert lie.status == 429

    run(join_on())


def test_behind_a_proxy_each_visitor_has_a_limit_of_their_own(start, database):
    web = start("web", database, JOIN_RATE_LIMIT="1/0.1", TRUSTED_PROXIES="1")

    async def statuses(*forwarded: str) -> list[int]:
        async with Client(web.url) as client:
            return [
                (
                    await client.request(
                        "POST",
                        "/api/v1/waitlist",
                        b'{"email":"p%d@example.com"}' % number,
                        {"X-Forwarded-For": header, "Content-Type": "application/json"},
                    )
                ).status
                for number, header in enumerate(forwarded)
            ]

    assert run(statuses("198.51.100.1", "198.51.100.2", "198.51.100.1")) == [202, 202, 429]
    # What the client itself put in front does not make it another one.
    assert run(statuses("203.0.113.1, 198.51.100.3", "203.0.113.2, 198.51.100.3")) == [202, 429]
