"""`EMAIL_URL` is read strictly, and its password is repeated nowhere."""

import pytest
from django.core.mail import mailers

from roadmap.environment import BadValue
from roadmap.mailers import read_email_url
from tests.service import manage


def test_a_server_with_starttls_a_user_and_a_sender() -> None:
    mail = read_email_url("smtp+tls://user:p%40ss@mail.example.com:587/?from=roadmap@example.com")
    assert mail.sender == "roadmap@example.com"
    assert mail.mailers["default"]["OPTIONS"] == {
        "host": "mail.example.com",
        "port": 587,
        "username": "user",
        "password": "p@ss",
        "use_tls": True,
        "timeout": 10,
    }


def test_a_user_that_is_an_address_is_the_sender() -> None:
    mail = read_email_url("smtps://roadmap%40example.com:secret@mail.example.com")
    assert mail.sender == "roadmap@example.com"
    assert mail.mailers["default"]["OPTIONS"]["use_ssl"] is True


def test_an_empty_one_sends_nothing() -> None:
    assert read_email_url("") == ({}, "")


@pytest.mark.parametrize(
    "address",
    [
        "mail.example.com",
        "http://a@b:secret@mail.example.com",
        "smtp://user:secret@mail.example.com",
        "smtp:///?from=a@example.com",
        "smtp://a%40b:secret@mail.example.com:port",
        "smtp://a%40b:secret@mail.example.com/?to=c@d",
        "smtp://a%40b:secret@[::1",
    ],
)
def test_a_bad_one_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(BadValue, match="EMAIL_URL is") as refused:
        read_email_url(address)
    assert "secret" not in str(refused.value)


def test_a_start_with_a_bad_one_ends_with_that_sentence() -> None:
    done = manage("postgresql://nobody@127.0.0.1:1/none", "check", EMAIL_URL="smtp://x:secret@y")
    assert done.returncode != 0
    assert "EMAIL_URL is 'smtp://…'; it takes smtp://" in done.stderr
    assert "secret" not in done.stderr


def test_django_takes_what_it_makes() -> None:
    assert "default" in mailers
