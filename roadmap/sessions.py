"""Sessions in the database, as Django's own; a key that Django would never make is nobody's.

A cookie may hold anything, and PostgreSQL takes no NUL.
"""

from django.contrib.sessions.backends import db


class SessionStore(db.SessionStore):
    def _validate_session_key(self, key: str) -> bool:
        return bool(super()._validate_session_key(key)) and key.isascii() and key.isalnum()  # type: ignore[misc]
