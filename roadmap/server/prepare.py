"""What `make run` does with Django before it serves: migrations, static files, the first staff login."""

import hashlib
import os
import secrets
import sys
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def migrate() -> None:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    say(f"Applying {missing} migrations" if missing else "Checking the tables: all migrations are applied")
    call_command("migrate", verbosity=0, interactive=False, skip_checks=False)


def collect_static_files() -> None:
    """Only when a file was added, changed or removed since the last time: compressing them takes seconds."""
    seen = hashlib.sha256(str(settings.STORAGES).encode())
    for finder in get_finders():
        for name, storage in sorted(finder.list([]), key=lambda found: found[0]):
            found = Path(storage.path(name)).stat()
            seen.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    stamp = settings.BASE_DIR / ".data" / "static-files"
    if settings.STATIC_ROOT.is_dir() and stamp.exists() and stamp.read_text() == seen.hexdigest():
        return
    say("Collecting the static files")
    call_command("collectstatic", verbosity=0, interactive=False)
    stamp.write_text(seen.hexdigest())


def create_staff() -> None:
    """The first time, where nobody is staff yet."""
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    if users.filter(is_staff=True).exists():
        return
    password = secrets.token_urlsafe(12)
    users.create_superuser("staff", password=password)
    say(f"Staff login for /admin/, shown only this once: user staff, password {password}")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")
    try:
        django.setup()
        migrate()
        collect_static_files()
        if not settings.PRODUCTION:
            create_staff()
    except (CommandError, ImproperlyConfigured, OperationalError) as error:
        say(str(error).strip())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
