"""The servers that are measured: the service as production runs it, and its peers on one process each."""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.service import PROJECT, Service, environment, free_port, wait_until

START = 30.0  # seconds until a peer answers
STOP = 5.0  # seconds until a peer that was told to end is killed

UVICORN = [
    "uvicorn",
    "--loop",
    "uvloop",
    "--http",
    "httptools",
    "--ws",
    "none",
    "--no-access-log",
    "--no-server-header",
    "--no-proxy-headers",
    "--log-level",
    "warning",
    "--backlog",
    "8192",
    "--timeout-keep-alive",
    "75",
    "--host",
    "127.0.0.1",
]
BOLT = ["django", "runbolt", "--host", "127.0.0.1", "--backlog", "8192", "--skip-checks", "--no-admin"]


class Peer:
    """One peer as a process; the same few verbs as `Service`."""

    def __init__(self, name: str, database_url: str, log: Path):
        self.name = name
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Peer":
        variables = {"SECRET_KEY": "for the load tests only", "PORT": str(self.port)}
        module = f"tests.load.peers.{PEERS[self.name]}"
        if self.name == "django-bolt":
            program = [*BOLT, "--port", str(self.port)]
            variables["DJANGO_SETTINGS_MODULE"] = module
        else:
            lifespan = (
                "off" if self.name in ("stock Django", "ceiling") else "on"
            )  # Django refuses that scope
            program = [*UVICORN, "--lifespan", lifespan, "--port", str(self.port), f"{module}:app"]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=PROJECT,
                env=environment(self.database_url, **variables),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self.is_ready, START, f"{self.name} answers; its log: {self.log_path}")
        return self

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended with {self.process.returncode}: {self.log_path.read_text()}"
            )
        try:
            httpx.post(f"{self.url}/api/v1/waitlist", json={"email": "first@example.com"}, timeout=5)
        except httpx.HTTPError:
            return False
        return True

    def kill(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


OURS = "Roadmap"
PAGE = "/load/entries/"  # what `tests.load.urls` adds
PEERS = {
    "seed stack": "seed",
    "FastAPI": "fastapi_asyncpg",
    "Litestar": "litestar_asyncpg",
    "django-bolt": "bolt",
    "stock Django": "stock",
    "near limit": "near_limit",
    "ceiling": "ceiling",
}


def server(name: str, database_url: str, log: Path) -> Service | Peer:
    """Not started yet; the service with all its checks on, behind one proxy."""
    if name != OURS:
        return Peer(name, database_url, log)
    return Service(
        "web",
        database_url,
        log,
        ENVIRONMENT="production",
        JOIN_RATE_LIMIT="2000/20",  # the default, which other tests turn off
        SECRET_KEY=secrets.token_urlsafe(32),
        ALLOWED_HOSTS="127.0.0.1",
        TRUSTED_PROXIES="1",
        DJANGO_SETTINGS_MODULE="tests.load.settings",
    )
