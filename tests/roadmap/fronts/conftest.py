"""People with an account, in the test's own database."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from roadmap.accounts import make_token


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", "anna@example.com", "wander-weg-7")


@pytest.fixture
def ben(db: None) -> User:
    return User.objects.create_user("ben", "ben@example.com", "wander-weg-8")


@pytest.fixture
def signed_in(anna: User) -> Client:
    client = Client()
    client.force_login(anna)
    return client


@pytest.fixture
def program(anna: User) -> Client:
    """A program with anna's token."""
    return Client(headers={"Authorization": f"Bearer {make_token(anna, 'tests')}"})
