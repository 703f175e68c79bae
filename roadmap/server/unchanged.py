"""Whether the set-up of `make run` would find anything to do: a start without it takes half the time."""

import hashlib
import os
from pathlib import Path

import psycopg

SOURCES = (
    "roadmap",
    "waitlist",
    "healthcheck",
    "manage.py",
    ".venv/requirements",
    "staticfiles/staticfiles.json",
)


def fingerprint(project: Path, database: str) -> str:
    """Of all that the set-up reads and makes: the sources, the packages, the static files, the migrations applied.

    Raises psycopg.Error when the database at the address `database` has none of them yet.
    """
    seen = hashlib.sha256(os.environ.get("ENVIRONMENT", "").encode())
    for name in SOURCES:
        for path in sorted([project / name, *(project / name).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                found = path.stat()
                seen.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    with psycopg.connect(database, connect_timeout=5) as connection:
        applied = connection.execute(
            "SELECT app, name, applied FROM django_migrations ORDER BY id"
        ).fetchall()
    seen.update(repr(applied).encode())
    return seen.hexdigest()
