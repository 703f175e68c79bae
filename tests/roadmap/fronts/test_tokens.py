"""Bearer tokens: kept as digests, shown once, revocable, and written to at most once a minute."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from roadmap.accounts import BadToken, make_token, owner_of_token
from roadmap.models import Roadmap, Token
from tests.conftest import Database
from tests.roadmap.fronts.rows import roadmap_of
from tests.service import manage, query


def test_the_table_has_nothing_that_could_be_used(anna: User) -> None:
    secret = make_token(anna, "laptop")
    row = str(Token.objects.values().get())
    assert secret not in row
    assert secret.removeprefix("roadmap_") not in row
    assert owner_of_token(f"Bearer {secret}") == anna
    with pytest.raises(BadToken):
        owner_of_token(f"Bearer {Token.objects.get().digest}")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer nobody", "Token {}", "{}"])
def test_no_other_header_is_taken(anna: User, header: str) -> None:
    with pytest.raises(BadToken):
        owner_of_token(header.format(make_token(anna, "laptop")))


def test_a_token_of_somebody_who_may_not_come_in_is_refused(anna: User) -> None:
    secret = make_token(anna, "laptop")
    User.objects.filter(pk=anna.pk).update(is_active=False)
    with pytest.raises(BadToken):
        owner_of_token(f"Bearer {secret}")


def test_its_use_is_noted_at_most_once_a_minute(anna: User) -> None:
    header = f"Bearer {make_token(anna, 'laptop')}"
    owner_of_token(header)
    first = Token.objects.get().last_used_at
    assert first is not None
    owner_of_token(header)
    assert Token.objects.get().last_used_at == first
    Token.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    owner_of_token(header)
    last = Token.objects.get().last_used_at
    assert last is not None
    assert last >= first


def test_the_page_shows_a_new_token_once_and_only_then(signed_in: Client, anna: User) -> None:
    made = signed_in.post("/accounts/", {"name": "laptop"})
    secret = made.context["secret"]
    assert made.status_code == 201
    assert secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    again = signed_in.get("/accounts/").content.decode()
    assert "laptop" in again
    assert secret not in again
    assert owner_of_token(f"Bearer {secret}") == anna


def test_a_revoked_token_is_refused_from_then_on(signed_in: Client, program: Client, anna: User) -> None:
    roadmap = roadmap_of(anna)
    path = f"/api/v1/roadmaps/{roadmap.pk}"
    assert program.get(path).status_code == 200
    signed_in.post(f"/accounts/tokens/{Token.objects.get().pk}/revoke/")
    assert program.get(path).status_code == 401


def test_nobody_revokes_somebody_elses(signed_in: Client, ben: User) -> None:
    make_token(ben, "his")
    assert signed_in.post(f"/accounts/tokens/{Token.objects.get().pk}/revoke/").status_code == 404
    assert Token.objects.filter(owner=ben).exists()


def test_nobody_has_tokens_without_end(signed_in: Client) -> None:
    statuses = [signed_in.post("/accounts/", {"name": str(number)}).status_code for number in range(21)]
    assert statuses == [201] * 20 + [422]
    assert Token.objects.count() == 20


def test_a_browsers_cookie_reads_and_never_changes(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "review", lessons=0)
    path = f"/api/v1/roadmaps/{roadmap.pk}"
    assert signed_in.get(path).status_code == 200
    review = signed_in.post(f"{path}/review", {"decision": "approve"}, content_type="application/json")
    assert review.status_code == 401
    assert signed_in.post(f"{path}/cancel").status_code == 401
    assert Roadmap.objects.get().state == "review"


def test_a_bad_token_is_not_made_good_by_a_cookie(signed_in: Client, anna: User) -> None:
    path = f"/api/v1/roadmaps/{roadmap_of(anna).pk}"
    answer = signed_in.get(path, headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="roadmap", error="invalid_token"'


def test_the_command_prints_it_alone_on_the_last_line(database: Database) -> None:
    query(
        database.url,
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_active, is_staff,"
        " is_superuser, date_joined) VALUES ('anna', '!', '', '', '', true, false, false, now()) RETURNING 1",
    )
    done = manage(database.url, "create_token", "anna")
    assert done.returncode == 0
    assert "It can be revoked at /accounts/." in done.stderr
    secret = done.stdout.splitlines()[-1]
    assert secret.startswith("roadmap_")
    assert secret.split() == [secret]
    assert query(database.url, "SELECT name, length(digest) FROM roadmap_token") == [("create_token", 64)]


@pytest.mark.django_db
def test_the_command_refuses_a_name_that_nobody_has() -> None:
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("create_token", "nobody")
