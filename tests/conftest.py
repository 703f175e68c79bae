"""What the tests run against: a PostgreSQL, a database in it, and real processes of the service."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict

from roadmap.server.places import DATABASE
from roadmap.server.postgres import PrivatePostgres
from tests.service import Service, manage, migrate
from tests.temporary_postgres import temporary_postgres

TEMPLATE = DATABASE  # migrated, and connected to by nobody: new databases are copies of it


@dataclass(frozen=True)
class Database:
    """A migrated, empty database: its address for the service's ordinary role, and for a superuser."""

    name: str
    url: str
    superuser_url: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def static_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Collected once, however many test processes there are: each would take them away from the others meanwhile."""
    folder = tmp_path_factory.getbasetemp()
    with ((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "static files").open(
        "a"
    ) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not lock.tell():
            call_command("collectstatic", interactive=False, verbosity=0)
            lock.write("done")


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """In the test's own process; the services have the real hashes, which take the better part of a second each."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def migrated() -> Iterator[Path]:
    """The folder of a server that has ended, with a migrated database: making one takes seconds, copying it not."""
    with temporary_postgres() as server:
        migrate(server.dsn())
        server.stop()
        yield server.folder


@pytest.fixture(scope="session")
def postgres(migrated: Path) -> Iterator[PrivatePostgres]:
    """One server for all tests that leave it as they found it; `max_connections` is 200."""
    yield from running_postgres(migrated)


@pytest.fixture
def own_postgres(migrated: Path) -> Iterator[PrivatePostgres]:
    """A server of the test's own, to stop, freeze and kill."""
    yield from running_postgres(migrated)


def running_postgres(migrated: Path) -> Iterator[PrivatePostgres]:
    # No fsync: these servers crash, the machine under them does not.
    with temporary_postgres(settings={"fsync": "off"}, like=migrated) as server:
        yield server


@pytest.fixture
def database(postgres: PrivatePostgres) -> Database:
    return copy_database(postgres)


@pytest.fixture
def own_database(own_postgres: PrivatePostgres) -> Database:
    return copy_database(own_postgres)


def copy_database(server: PrivatePostgres) -> Database:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn("postgres", superuser=True), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" OWNER roadmap')
    return Database(name, server.dsn(name), server.dsn(name, superuser=True))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """`start("web", database, WEB_CONCURRENCY="2")`: a service that is ready; ended with the test."""
    services: list[Service] = []

    def start_one(kind: str, database: Database, *, ready: bool = True, **variables: str) -> Service:
        service = Service(kind, database.url, tmp_path / f"{kind}-{len(services)}.log", **variables)
        services.append(service)
        return service.start(ready)

    yield start_one
    for service in services:
        service.kill()


@pytest.fixture
def web(start: Callable[..., Service], database: Database) -> Service:
    """A web server with the development plan, and nothing else going on."""
    return start("web", database)


@pytest.fixture(scope="module")
def module_database(postgres: PrivatePostgres) -> Database:
    return copy_database(postgres)


@pytest.fixture(scope="module")
def module_web(
    request: pytest.FixtureRequest, module_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One web server for a module that only asks; with the settings that the module names in `SETTINGS`."""
    settings = getattr(request.module, "SETTINGS", "roadmap.settings")
    log = tmp_path_factory.mktemp("web") / "web.log"
    service = Service("web", module_database.url, log, DJANGO_SETTINGS_MODULE=settings)
    yield service.start()
    service.kill()


@pytest.fixture
def staff(database: Database) -> tuple[str, str]:
    """The name and password of somebody who may do everything in the admin of `database`."""
    name, password = "staff", secrets.token_urlsafe(16)
    variables = {"DJANGO_SUPERUSER_PASSWORD": password}
    done = manage(
        database.url,
        "createsuperuser",
        "--noinput",
        f"--username={name}",
        "--email=staff@example.com",
        **variables,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return name, password


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: PrivatePostgres) -> None:
    """What runs inside the test process uses the tests' own server too, never the developer's."""
    address = conninfo_to_dict(postgres.dsn("postgres", superuser=True))
    settings = connections["default"].settings_dict
    settings.update(
        HOST=address["host"], PORT=str(address["port"]), USER=address["user"], PASSWORD=address["password"]
    )
    settings["OPTIONS"].pop("host", None)
