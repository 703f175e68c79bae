"""gunicorn's configuration: exactly the planned processes, and no more.

gunicorn finds this file by itself in the folder that it is started in.
"""

import os
import resource
import socket
import sys
from typing import Any

from roadmap.server import role

role.become("web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")

from django.conf import settings  # noqa: E402  # the role comes before the settings
from django.core.exceptions import ImproperlyConfigured  # noqa: E402

from healthcheck import report  # noqa: E402


def addresses(port: int) -> list[str]:
    """Every address in production, IPv6 too where there is any; in development this machine only."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return [f"0.0.0.0:{port}" if settings.PRODUCTION else f"127.0.0.1:{port}"]
    return [f"[::]:{port}"] if settings.PRODUCTION else [f"127.0.0.1:{port}", f"[::1]:{port}"]


try:
    planned = settings.CONNECTION_PLAN.web.processes
except ImproperlyConfigured as error:
    sys.exit(str(error))

wsgi_app = "roadmap.asgi:application"
bind = addresses(settings.PORT)
workers = planned
worker_class = "roadmap.server.gunicorn_worker.Worker"
backlog = 8192
graceful_timeout = 20
timeout = 60
keepalive = 75
forwarded_allow_ips = ""
control_socket_disable = True  # another way to add workers past the plan


FILES = 16_384  # that a process may have open: each client is one, and a launch day brings 10,000


def raise_file_limit(server: Any) -> None:
    """Take all the open files that the system allows; its usual 1,024 are for programs with no clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = FILES if hard == resource.RLIM_INFINITY else hard
    if 0 <= soft < allowed:  # -1: it has no limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < FILES:
        server.log.warning(
            "The system allows each process %d open files, and every client takes one: "
            "raise the hard limit (LimitNOFILE, ulimit -Hn) to at least %d.",
            allowed,
            FILES,
        )


def refuse(server: Any, sentence: str) -> None:
    server.log.error(sentence)
    sys.exit(1)


def on_starting(server: Any) -> None:
    """In the master, before anything is opened: refuse what is not planned, or what the database cannot bear."""
    if server.cfg.workers != planned:
        refuse(
            server,
            f"gunicorn was told to start {server.cfg.workers} processes, but the plan is made for "
            f"{planned}; set WEB_CONCURRENCY instead of -w or GUNICORN_CMD_ARGS.",
        )
    raise_file_limit(server)
    found = report.take()
    if found.refusal:
        refuse(server, found.refusal)
    if found.error:
        server.log.warning(
            "The database cannot be asked what it allows, so the plan is untested: %s", found.error
        )


def when_ready(server: Any) -> None:
    """Signals that add processes, or start a second set beside the first, are not followed."""
    for name in ("TTIN", "HUP", "USR2"):
        handler = f"handle_{name.lower()}"
        setattr(
            server,
            handler,
            lambda name=name: server.log.warning(
                "SIG%s would open more connections than planned and is ignored; set WEB_CONCURRENCY and restart.",
                name,
            ),
        )
