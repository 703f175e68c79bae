"""`make run`: private database, set-up, web and worker; and the end of them all, the database last.

Whatever it starts has a session of its own, so that the terminal's Ctrl-C reaches only this process, and
a guard, so that nothing is left running even when this process is killed with -9.
"""

import contextlib
import errno
import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psycopg

from roadmap.server import places
from roadmap.server.binaries import PostgresError
from roadmap.server.guard import Guard, signal_group
from roadmap.server.postgres import PrivatePostgres
from roadmap.server.unchanged import fingerprint

PROJECT = Path(__file__).resolve().parents[2]
PAGE_SECONDS = 60.0  # until the page must have answered
END_SECONDS = 45.0  # for web and worker to finish what they are at; longer than their own patience
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunError(Exception):
    """One sentence for the terminal: what, and what to do."""


def say(line: str) -> None:
    # The terminal may be gone (SIGHUP); what is to be ended must be ended all the same.
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


class Child:
    """A process that leads a group of its own."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, *arguments], cwd=PROJECT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._guard = Guard(self._process.pid, "TERM", group=True)

    def status(self) -> int | None:
        return self._process.poll()

    def ask_to_end(self) -> None:
        if self.status() is None:
            self._process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for it for so long at most, then kill it; and whatever it has left behind."""
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            say(f"The {self.name} does not end by itself and is killed.")
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.dismiss()


class Run:
    """Everything that one `make run` has started."""

    def __init__(self) -> None:
        self.database: PrivatePostgres | None = None
        self.children: list[Child] = []
        self._told_to_stop = False
        self._starting_database = False
        # make passes a Ctrl-C on, but not its own kill -9.
        self._parent = os.getppid() if "MAKELEVEL" in os.environ else None
        for signum in STOP_SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # `nohup make run`
                signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """Only takes note: a second Ctrl-C changes nothing."""
        self._told_to_stop = True
        if self._starting_database and self.database is not None and self.database.alive:
            os.kill(self.database.pid, signal.SIGINT)  # a crash recovery may take two minutes

    @property
    def stopping(self) -> bool:
        return self._told_to_stop or self._parent not in (None, os.getppid())

    def start_database(self) -> None:
        try:
            folder, outside = places.make_home(PROJECT)
            if outside:
                say(f"The database is in {folder}, for PostgreSQL's user does not get into this folder")
            self.database = database = PrivatePostgres(folder, say=say)
            say("Starting PostgreSQL")
            self._starting_database = True
            database.start()
        except (PostgresError, psycopg.OperationalError) as error:
            if not self.stopping:
                raise RunError(str(error)) from error
        else:
            os.environ["DATABASE_URL"] = database.dsn()
        self._starting_database = False

    def prepare(self) -> None:
        stamp = PROJECT / ".data" / "prepared"
        if self.stopping:
            return
        if stamp.exists() and stamp.read_text() == self._fingerprint() != "":
            say("Nothing has changed since the last set-up")
            return
        child = Child("set-up", "-m", "roadmap.server.prepare")
        self.children.append(child)
        while (status := child.status()) is None and not self.stopping:
            time.sleep(0.02)
        if status is not None:
            self.children.remove(child)
            child.end(0.0)
            if status == 0:
                stamp.write_text(self._fingerprint())
            elif not self.stopping:
                raise RunError("The set-up failed, for the reason above.")

    def _fingerprint(self) -> str:
        """Empty when nothing can be said: no tables yet, or a database that others change too."""
        if self.database is None:
            return ""
        try:
            return fingerprint(PROJECT, self.database.dsn())
        except psycopg.Error:
            return ""

    def serve(self, port: int) -> None:
        """Start web and worker, and return when the page answers."""
        if self.stopping:
            return
        say("Starting web and worker")
        self.children.append(Child("web", "-m", "roadmap.server"))
        self.children.append(Child("worker", "manage.py", "run_worker"))
        deadline = time.monotonic() + PAGE_SECONDS
        while not self.stopping and not page_answers(port):
            self._see_that_all_run()
            if time.monotonic() > deadline:
                raise RunError(f"The page did not answer within {PAGE_SECONDS:.0f} s.")
            time.sleep(0.02)
        if not self.stopping:
            say(f"Roadmap is at http://localhost:{port}/  (Ctrl-C ends it)")

    def watch(self) -> None:
        """Return when told to stop."""
        while not self.stopping:
            self._see_that_all_run()
            time.sleep(0.1)

    def _see_that_all_run(self) -> None:
        for child in self.children:
            status = child.status()
            if status is not None and not self.stopping:
                how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
                raise RunError(f"The {child.name} has ended by itself ({how}), so everything is stopped.")
        if self.database is not None and not self.database.alive and not self.stopping:
            raise RunError(f"PostgreSQL has ended by itself, see {self.database.log}; everything is stopped.")

    def end(self) -> None:
        """Web and worker first and at once, the database when nobody needs it any more."""
        deadline = time.monotonic() + END_SECONDS
        if self.children:
            say(f"Stopping {' and '.join(child.name for child in self.children)}")
        for child in self.children:
            child.ask_to_end()
        for child in self.children:
            child.end(deadline - time.monotonic())
        if self.database is not None:
            say("Stopping PostgreSQL")
            self.database.stop()
        say("Nothing is left running.")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the clone's lock. Raises RunError when another `make run` does."""
    path = PROJECT / ".data" / "lock"
    try:
        path.parent.mkdir(exist_ok=True)
        held = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except PermissionError:
        raise RunError(f"{path} cannot be made: run this as the owner of the folder.") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError("Another `make run` is at work in this folder: end that one first.") from None
    else:
        yield
    finally:
        os.close(held)


def port_to_use() -> int:
    """`PORT`, or 8000. Raises RunError when it is no port or not to be had."""
    text = os.environ.get("PORT", "8000")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise RunError(f"PORT is {text!r}; it takes a number from 1 to 65535.")
    port = int(text)
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - only tried
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((everywhere, port))
                probe.listen()
        except PermissionError:
            raise RunError(f"Port {port} is for root only: choose another with PORT=8000.") from None
        except OSError as error:
            if family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                continue  # this machine has no IPv6
            raise RunError(
                f"Port {port} is taken by another program: choose another, such as PORT={port + 1}."
            ) from None
    return port


def page_answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> int:
    run = Run()
    try:
        with only_one():
            port = port_to_use()
            try:
                # Production names its own database; without one, the settings refuse to start.
                if not os.environ.get("DATABASE_URL") and os.environ.get("ENVIRONMENT") != "production":
                    run.start_database()
                run.prepare()
                run.serve(port)
                run.watch()
            except RunError as problem:
                say(str(problem))
                return 1
            finally:
                run.end()
    except RunError as problem:
        say(str(problem))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
