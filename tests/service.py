"""Real processes of the service, and the commands that an operator would run beside them."""

import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

PROJECT = Path(__file__).resolve().parent.parent
START = 60.0  # seconds that a process may take until it is ready
STOP = 40.0
PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
FIRST_PORT, PORTS = 10_000, 2_000  # for each test process
_ports = itertools.count(secrets.randbelow(PORTS))


def environment(database_url: str, **variables: str) -> dict[str, str]:
    """A clean environment: nothing of the developer's own settings gets in."""
    passed_on = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ
    }
    return {**passed_on, "DATABASE_URL": database_url, **PYTHON, **variables}


def manage(database_url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py …` as in a second terminal."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment(database_url, **variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def migrate(database_url: str) -> None:
    done = manage(database_url, "migrate", "--verbosity=0")
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def free_port() -> int:
    """A port that nobody listens on; test processes side by side look in different places, below the system's own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    for _ in range(PORTS):
        port = FIRST_PORT + int(worker) * PORTS + next(_ports) % PORTS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free")


def wait_until[T](condition: Callable[[], T], within: float, what: str) -> T:
    """The first true value of `condition`; asked again and again, for `within` seconds at most."""
    give_up = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() > give_up:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)


def cores_of_threads(pid: int) -> list[set[int]]:
    """Where each thread of a process may run."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found.append(os.sched_getaffinity(int(thread.name)))
    return found


def are_on_one_core(threads: list[set[int]]) -> bool:
    """Of at least the event loop and a few more."""
    return len(threads) > 4 and len(threads[0]) == 1 and all(cores == threads[0] for cores in threads)


class Service:
    """One web server or one worker, as the Procfile starts it, in development on a port of its own."""

    def __init__(self, kind: str, database_url: str, log: Path, **variables: str):
        self.kind = kind
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log
        self.variables = {
            "ENVIRONMENT": "development",
            "JOIN_RATE_LIMIT": "off",  # all of a test's joins come from one address
            "SECRET_KEY": secrets.token_urlsafe(32),
            "PORT" if kind == "web" else "WORKER_PORT": str(self.port),
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.told = False  # to end

    def start(self, ready: bool = True) -> Self:
        """Start it, and with `ready` wait until it says that it is."""
        self.told = False
        program = ["-m", "roadmap.server"] if self.kind == "web" else ["manage.py", "run_worker"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                cwd=PROJECT,
                env=environment(self.database_url, **self.variables),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if ready:
            wait_until(self.is_ready, START, f"{self.kind} is ready; its log:\n{self.log()}")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.kind} ended with {self.process.returncode}:\n{self.log()}")
        try:
            return self.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, **options)

    def join(self, email: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/api/v1/waitlist", json={"email": email}, timeout=30, **options)

    def health(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.get("/health").content)
        return content

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def worker_pids(self) -> list[int]:
        """gunicorn's worker processes."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def tell_to_end(self) -> None:
        assert self.process is not None
        self.told = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it as a platform does, unless it has been told; what it exits with.

        Told again while Python itself ends, it would exit with the signal.
        """
        assert self.process is not None
        if not self.told:
            self.tell_to_end()
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # where its threads are goes to the log
            self.process.wait()
            self.kill()
            raise AssertionError(f"{self.kind} did not end; its log:\n{self.log()[-20_000:]}") from None

    def kill(self) -> None:
        """`kill -9` for it and all its children."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


def query(database_url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Rows, seen from outside the service."""
    with psycopg.connect(database_url, autocommit=True, application_name="tests") as connection:
        return connection.execute(statement, parameters or None).fetchall()


def connections_by_name(superuser_url: str, database: str) -> dict[str, int]:
    """Connections of the service to one database, by `application_name`."""
    return dict(
        query(
            superuser_url,
            "SELECT application_name, count(*)::int FROM pg_stat_activity"
            " WHERE datname = %s AND application_name LIKE 'roadmap_agent%%' GROUP BY 1",
            database,
        )
    )
