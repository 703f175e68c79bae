"""Hashes of passwords, on whichever core is free."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from roadmap.server.cores import everywhere


class Hasher(PBKDF2PasswordHasher):
    """Django's own. It takes a good part of a second without Python's lock, and would take it from the event loop."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with everywhere():
            return super().encode(password, salt, iterations)
