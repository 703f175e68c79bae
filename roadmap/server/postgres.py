"""A PostgreSQL of our own: the private one of `make run`, and the temporary one of the tests.

Without Django. Its folder holds `data/`, `socket/` and `postgres.log`, and nobody but the server's user
and root gets into it: that is why connections through the socket need no password.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from roadmap.server import binaries
from roadmap.server.binaries import PostgresError
from roadmap.server.guard import Guard
from roadmap.server.places import DATABASE, ROLE, SOCKET_PORT, free_port, socket_folder, url

SUPERUSER = "postgres"

START_SECONDS = 120.0  # crash recovery may take this long
STOP_SECONDS = 60.0
STOP_SIGNALS = {
    "smart": signal.SIGTERM,  # waits for its clients
    "fast": signal.SIGINT,  # cuts them off
    "immediate": signal.SIGQUIT,  # leaves a crash recovery
    "crash": signal.SIGKILL,
}


class PrivatePostgres:
    """A server with its data in `folder`, listening on a Unix socket that only its user and root can open.

    Args:
        folder: made when missing; what is in it is taken up again. As root, the server runs as the owner of
            the nearest folder that exists, or as `postgres` or `nobody`, who must get there.
        tcp: listen on 127.0.0.1 too, with passwords (a Unix socket has no keepalives).
        settings: server settings by name, given anew at each start.
        say: told, in a line, what takes a while.

    `start` raises PostgresError. `pid` is the postmaster's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tcp: bool = False,
        max_connections: int = 200,
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder.resolve()
        self.account = binaries.account_for(self.folder)
        self.socket_folder = socket_folder(self.folder)
        self.port = free_port() if tcp else SOCKET_PORT
        self.log = self.folder / "postgres.log"
        self._tcp = tcp
        self._password = secrets.token_urlsafe(24)
        self._say = say
        self._settings = {
            "listen_addresses": "127.0.0.1" if tcp else "",
            "port": str(self.port),
            "unix_socket_directories": '"{}"'.format(str(self.socket_folder).replace('"', '""')),
            "unix_socket_permissions": "0700",
            "max_connections": str(max_connections),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def pid(self) -> int:
        """Raises RuntimeError when it was not started."""
        if self._process is None:
            raise RuntimeError("PostgreSQL was not started.")
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the postmaster that `start` started is there."""
        return self._process is not None and self._process.poll() is None

    def dsn(self, database: str = DATABASE, *, superuser: bool = False, tcp: bool | None = None) -> str:
        """An address for psycopg, Django and the rest: over TCP where there is TCP, unless told otherwise."""
        role = SUPERUSER if superuser else ROLE
        if self._tcp and tcp is not False:
            return url(database, role, "127.0.0.1", self.port, self._password)
        return url(database, role, self.socket_folder, self.port)

    def start(self) -> None:
        """Return when the server answers and has the role and the database; nothing to do while it runs."""
        if self._process is not None and self.alive:
            if self._answers():
                return
            try:  # somebody has just killed it
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise PostgresError(f"PostgreSQL, process {self.pid}, neither answers nor ends.") from None
        self._forget()
        self._own(self.folder)
        data = self.folder / "data"
        major = int((data / "PG_VERSION").read_text()) if data.is_dir() else None
        programs, major = binaries.find(major, self.account, self.folder, self._say)
        if not data.is_dir():
            self._say(f"Making a database with PostgreSQL {major}")
            self._initdb(programs, major, data)
        self._own(self.socket_folder)
        self._end_leftover()
        self._launch(programs)
        self._ensure_role_and_database()

    def stop(self, mode: str = "fast") -> None:
        """End it in a way of STOP_SIGNALS, and in a rougher one when that takes too long."""
        if self._process is not None:
            for signum in (STOP_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    if self.alive:
                        self._process.send_signal(signum)
                    self._process.wait(STOP_SECONDS)
                    break
        self._forget()
        if self.socket_folder.parent != self.folder:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    def create_database(self, name: str) -> None:
        """Owned by the ordinary role."""
        with self._superuser() as connection:
            create = sql.SQL("CREATE DATABASE {} OWNER {}")
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(ROLE)))

    def _own(self, folder: Path) -> None:
        """Make `folder` the server's user's, closed to everybody else."""
        uid = self.account.pw_uid if self.account else os.geteuid()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.account and folder.lstat().st_uid == 0:
                os.chown(folder, uid, self.account.pw_gid, follow_symlinks=False)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
                raise PermissionError
            folder.chmod(0o700)
        except PermissionError:
            raise PostgresError(
                f"The folder {folder} cannot be made or belongs to another user: "
                f"run this as its owner or as root, or remove it."
            ) from None
        if not binaries.reachable(folder, self.account):
            raise PostgresError(
                f"PostgreSQL would run as user {_user_name(uid)}, who does not get into {folder}: "
                f"choose a folder below one that everybody may enter."
            )

    def _initdb(self, programs: Path, major: int, data: Path) -> None:
        """Into a folder beside, then renamed: an interrupted one is never taken for a database."""
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--username", SUPERUSER, "--encoding=UTF8", "--no-instructions"]
        options += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        # Sorting and lower case by Unicode's rules, the same on every machine.
        locale = ["--locale=C.UTF-8"]
        if major >= 17:
            locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = subprocess.run(
            [programs / "initdb", "--pgdata", unfinished, *options, *locale],
            **self._surroundings(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresError(
                f"PostgreSQL's initdb failed in {self.folder}: {' '.join(done.stderr.split())}"
            )
        unfinished.rename(data)

    def _surroundings(self) -> dict[str, Any]:
        """How its programs are started: as their user, in a folder it reaches, without our language."""
        return {
            "cwd": self.folder,
            "env": binaries.clean_environment(),
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,  # a Ctrl-C of the terminal is ours to pass on
            **binaries.credentials(self.account),
        }

    def _launch(self, programs: Path) -> None:
        """Start the postmaster and wait until it takes connections."""
        command = [str(programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        deadline = time.monotonic() + START_SECONDS
        while True:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(command, **self._surroundings(), stdout=log, stderr=log)
            self._guard = Guard(self.pid, "INT")
            while self.alive and time.monotonic() < deadline:
                if self._answers():
                    return
                time.sleep(0.02)
            if self.alive:
                self.stop("immediate")
                raise PostgresError(
                    f"PostgreSQL did not answer within {START_SECONDS:.0f} s: see {self.log}."
                )
            self._forget()
            written = self.log.read_text(errors="replace")
            # The backends of a killed postmaster take a moment to notice that they are alone.
            if "pre-existing shared memory block" not in written or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start, {_reason(written)}: see {self.log}.")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            self._superuser().close()
        except psycopg.OperationalError:
            return False
        return True

    def _end_leftover(self) -> None:
        """Stop a server that an earlier process of ours left on this data; clear away what a crash left.

        The caller sees to it that no other process uses the folder at this time.
        """
        pid_file = self.folder / "data" / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split()[0])
        deadline = time.monotonic() + STOP_SECONDS
        while (answers := self._answers()) or (left := self._processes_in_data()):
            if answers or pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
            if time.monotonic() > deadline:
                raise PostgresError(f"A PostgreSQL still runs on {self.folder}: end process {pid}.")
            time.sleep(0.1)
        # The number is another process's by now, or a dead one's that nobody waited for, as in a container:
        # PostgreSQL would take either for a server at work.
        pid_file.unlink(missing_ok=True)
        (self.socket_folder / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)

    def _processes_in_data(self) -> set[int]:
        """On Linux: all that work in the data folder, as a postmaster and its backends do."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile, or another user's and so not this server's
                if (entry / "cwd").samefile(self.folder / "data"):
                    found.add(int(entry.name))
        return found

    def _ensure_role_and_database(self) -> None:
        with self._superuser() as connection:
            role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            if self._tcp:
                for name in (ROLE, SUPERUSER):
                    alter = sql.SQL("ALTER ROLE {} PASSWORD {}")
                    connection.execute(alter.format(sql.Identifier(name), sql.Literal(self._password)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def _superuser(self) -> psycopg.Connection:
        where = self.dsn("postgres", superuser=True, tcp=False)
        return psycopg.connect(where, autocommit=True, connect_timeout=5, application_name="private_postgres")

    def _forget(self) -> None:
        """The postmaster has ended, by us or by somebody else."""
        self._process = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _reason(log: str) -> str:
    """The first line of the server's log that says why it ended."""
    for line in log.splitlines():
        if "FATAL" in line or "PANIC" in line:
            return f"“{line.partition(': ')[2].strip()}”"
    return "without giving a reason"
