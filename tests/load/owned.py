"""Roadmaps with an owner and a bearer token each, for the load tests' programs; after `django.setup()`."""

import secrets

from django.contrib.auth.models import User
from django.db import transaction

from roadmap.accounts import PREFIX, digest
from roadmap.models import Roadmap, State, Token


def make(count: int) -> list[tuple[Roadmap, str]]:
    """So many new roadmaps at work, each of another person's, and the tokens of these."""
    secrets_ = [PREFIX + secrets.token_urlsafe(32) for _ in range(count)]
    with transaction.atomic():
        people = User.objects.bulk_create(
            User(username=f"reader-{number}", email=f"reader-{number}@example.com", password="!")
            for number in range(count)
        )
        roadmaps = Roadmap.objects.bulk_create(
            Roadmap(owner=person, goal="Python", state=State.WRITING, attempt=1) for person in people
        )
        Token.objects.bulk_create(
            Token(owner=person, name="load", digest=digest(secret))
            for person, secret in zip(people, secrets_, strict=True)
        )
    return list(zip(roadmaps, secrets_, strict=True))
