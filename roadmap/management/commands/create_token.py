"""`manage.py create_token <username>`: a bearer token for the API, shown once."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from roadmap.accounts import make_token


class Command(BaseCommand):
    help = "Make a bearer token for the API and print it, once, alone on the last line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whose token it is")
        parser.add_argument("--name", default="create_token", help="what it is called in the list of tokens")

    def handle(self, *args: Any, **options: Any) -> None:
        name, label = options["username"], options["name"].strip()
        if not 0 < len(label) <= 100:
            raise CommandError("--name takes 1 to 100 characters.")
        try:
            owner = User.objects.get_by_natural_key(name)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {name!r}: staff make accounts in the admin.") from None
        if not owner.is_active:
            raise CommandError(f"The account of {name!r} is not active: its tokens would not be taken.")
        token = make_token(owner, label)
        self.stderr.write(f"A token of {name}, shown only now. It can be revoked at {reverse('account')}.")
        self.stdout.write(token)
