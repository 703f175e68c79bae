"""`check_pools --watch`, in a pipe and on a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator

import psycopg

from roadmap.server.postgres import PrivatePostgres
from tests.conftest import Database
from tests.service import PROJECT, environment, manage, query, wait_until

HOME = "\x1b[H"
COLOUR = "\x1b[1m"


class Watching:
    """A running `check_pools --watch` and all that it has printed."""

    def __init__(self, url: str, *arguments: str, terminal: tuple[int, int] | None = None, **variables: str):
        reader, writer = pty.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", *terminal, 0, 0))
        command = [sys.executable, "manage.py", "check_pools", "--watch", "0.2", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(url, **variables),
            stdout=writer,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(writer)
        self.printed = ""
        self._thread = threading.Thread(target=self._read, args=(reader,))
        self._thread.start()

    def _read(self, reader: int) -> None:
        with contextlib.suppress(OSError), os.fdopen(reader, "rb", buffering=0) as file:  # a pty ends in EIO
            while content := file.read(65536):
                self.printed += content.decode(errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until `text` has been printed so often from now on."""
        seen = self.printed.count(text)
        wait_until(lambda: self.printed.count(text) >= seen + times, 20, f"{text!r} in {self.printed!r}")

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; what it exits with, and what it complains of."""
        self.process.send_signal(signal.SIGINT)
        _, complaint = self.process.communicate(timeout=10)
        self._thread.join(10)
        return self.process.returncode, complaint.decode()


@contextlib.contextmanager
def watching(url: str, *arguments: str, **options) -> Iterator[Watching]:
    watch = Watching(url, *arguments, **options)
    try:
        yield watch
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.communicate()


def backends(database: Database) -> list[int]:
    rows = query(
        database.superuser_url,
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'roadmap_agent/command' AND datname = %s",
        database.name,
    )
    return [pid for (pid,) in rows]


def test_in_a_pipe_it_repeats_plainly_over_one_connection_and_ctrl_c_ends_it(database: Database):
    with watching(database.url) as watch:
        watch.wait_for("Nothing to find fault with.")
        first = backends(database)
        watch.wait_for("Nothing to find fault with.", times=2)
        assert backends(database) == first
        assert len(first) == 1
        assert watch.interrupt() == (0, "")
    assert "\x1b" not in watch.printed
    assert backends(database) == []


def test_as_json_it_prints_one_line_each_time(database: Database):
    with watching(database.url, "--json") as watch:
        wait_until(lambda: watch.printed.count("\n") >= 3, 20, "three lines")
        watch.interrupt()
    reports = [json.loads(line) for line in watch.printed.splitlines()]
    assert {report["status"] for report in reports} == {"ok"}


def test_a_connection_that_is_cut_is_replaced(database: Database):
    with watching(database.url) as watch:
        watch.wait_for("Nothing to find fault with.")
        (cut,) = backends(database)
        with psycopg.connect(database.superuser_url, autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s)", [cut])
        watch.wait_for("could not be asked")
        watch.wait_for("Nothing to find fault with.")
        assert backends(database) != [cut]
        assert watch.interrupt() == (0, "")


def test_while_the_server_is_away_it_goes_on_showing_the_plan(
    own_postgres: PrivatePostgres, own_database: Database
):
    with watching(own_database.url) as watch:
        watch.wait_for("Nothing to find fault with.")
        own_postgres.stop()
        watch.wait_for("a server that could not be asked")
        watch.wait_for("checkpointer")
        own_postgres.start()
        watch.wait_for("Nothing to find fault with.")
        assert watch.interrupt() == (0, "")


def test_on_a_terminal_it_writes_over_the_last_one_in_colour(database: Database):
    with watching(database.url, terminal=(40, 80)) as watch:
        watch.wait_for("Nothing to find fault with.", times=2)
        watch.interrupt()
    frames = watch.printed.split(HOME)[2:]
    assert COLOUR in frames[0]
    assert all(frame.count("\n") < 40 for frame in frames)


def test_a_low_window_gets_what_fits_and_is_told_what_does_not(database: Database):
    with watching(database.url, terminal=(12, 80)) as watch:
        watch.wait_for("lines more in a higher window", times=2)
        watch.interrupt()
    frames = watch.printed.split(HOME)[2:]
    assert {frame.count("\n") for frame in frames[:2]} == {11}


def test_no_color_is_honoured(database: Database):
    with watching(database.url, terminal=(40, 80), NO_COLOR="1") as watch:
        watch.wait_for("Nothing to find fault with.", times=2)
        watch.interrupt()
    assert HOME in watch.printed
    assert COLOUR not in watch.printed


def test_colour_can_be_forced_where_there_is_no_terminal(database: Database):
    assert COLOUR in manage(database.url, "check_pools", "--force-color").stdout


def test_a_reader_that_has_enough_ends_it_without_a_traceback(database: Database):
    shell = f"{sys.executable} manage.py check_pools --watch 0.1 | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", shell],
        cwd=PROJECT,
        env=environment(database.url),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Ctrl-C ends" in done.stdout
    assert done.stderr == ""
