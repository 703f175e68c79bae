"""Signing in and out, and how often one may try."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from roadmap import account_pages
from roadmap.account_pages import TRIES
from roadmap.models import Token
from tests.roadmap.fronts.rows import roadmap_of
from waitlist.limits import Limiter

pytestmark = pytest.mark.long

GOOD = {"username": "anna", "password": "wander-weg-7"}
BAD = {"username": "anna", "password": "guess"}


@pytest.fixture(autouse=True)
def fresh_limiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests come from one address, and a password takes a part of a second to check."""
    monkeypatch.setattr(account_pages, "_limiter", Limiter(TRIES, clock=lambda: 0.0))


def test_one_is_led_back_to_where_one_wanted_to_go(client: Client, anna: User) -> None:
    answer = client.get("/roadmaps/new/")
    assert answer["Location"] == "/accounts/login/?next=/roadmaps/new/"
    answer = client.post(answer["Location"], {**GOOD, "next": "/roadmaps/new/"})
    assert (answer.status_code, answer["Location"]) == (302, "/roadmaps/new/")
    assert client.get("/accounts/login/")["Location"] == "/roadmaps/"


def test_who_was_signed_out_before_they_sent_a_form_is_back_on_its_page(
    signed_in: Client, anna: User
) -> None:
    roadmap, token = roadmap_of(anna, "ready"), Token.objects.create(owner=anna, name="laptop", digest="d")
    page = f"/roadmaps/{roadmap.pk}/"
    pages = {
        f"{page}retry/": page,
        f"{page}review/": page,
        f"{page}cancel/": page,
        f"{page}delete/": f"{page}delete/",
        f"{page}2/learned/": f"{page}2/",
        "/roadmaps/new/": "/roadmaps/new/",
        "/accounts/": "/accounts/",
        f"/accounts/tokens/{token.pk}/revoke/": "/accounts/",
    }
    for path, back in pages.items():
        assert Client().post(path)["Location"] == f"/accounts/login/?next={back}"
        assert signed_in.get(back).status_code == 200


def test_pages_can_be_asked_for_their_headers_alone(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "ready")
    for path in (
        "/roadmaps/",
        f"/roadmaps/{roadmap.pk}/",
        f"/roadmaps/{roadmap.pk}/1/",
        f"/roadmaps/{roadmap.pk}/export.md",
    ):
        assert signed_in.head(path).status_code == 200


def test_a_form_without_its_token_gets_our_own_page(anna: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(anna)
    answer = strict.post("/roadmaps/new/", {"goal": "Django"})
    assert answer.status_code == 403
    assert "403.html" in [template.name for template in answer.templates]
    assert b"<style" not in answer.content


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_one_is_led_nowhere_else(client: Client, anna: User, target: str) -> None:
    answer = client.post("/accounts/login/", {**GOOD, "next": target})
    assert answer["Location"] == "/roadmaps/"


def test_a_cookie_that_names_no_session_is_as_good_as_none(client: Client) -> None:
    answer = client.get("/roadmaps/", HTTP_COOKIE='sessionid="aaaaaaaa\\000"')  # a NUL
    assert (answer.status_code, answer["location"]) == (302, "/accounts/login/?next=/roadmaps/")


def test_signing_out_takes_a_post_and_ends_the_session(signed_in: Client) -> None:
    assert signed_in.get("/accounts/logout/").status_code == 405
    assert signed_in.get("/roadmaps/").status_code == 200
    assert signed_in.post("/accounts/logout/")["Location"] == "/"
    assert signed_in.get("/roadmaps/").status_code == 302


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_guessing_is_slowed_down_for_the_address_alone(client: Client, anna: User, path: str) -> None:
    tried = [client.post(path, BAD).status_code for _ in range(TRIES.burst)]
    assert tried == [200] * TRIES.burst
    refused = client.post(path, GOOD)
    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 5
    assert client.post("/accounts/login/", GOOD).status_code == 429  # one count for both doors
    assert client.get(path).status_code == 200
    other = client.post(path, GOOD, REMOTE_ADDR="198.51.100.7")
    assert other.status_code in (200, 302)


def test_a_password_is_changed_by_who_knows_the_old_one(signed_in: Client, anna: User) -> None:
    new = {"new_password1": "berg-tal-99", "new_password2": "berg-tal-99"}
    wrong = signed_in.post("/accounts/password/", {"old_password": "guess", **new})
    assert wrong.context["form"].errors.keys() == {"old_password"}
    done = signed_in.post("/accounts/password/", {"old_password": "wander-weg-7", **new}, follow=True)
    assert "Your password is changed." in done.content.decode()
    anna.refresh_from_db()
    assert anna.check_password("berg-tal-99")
