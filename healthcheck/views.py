"""`/health`, `/health/live` and `/health/ready`, as ASGI: no thread, no pool and no queue is needed to answer."""

import functools
import json
import tomllib
from collections.abc import Callable
from typing import Any

from django.conf import settings

from healthcheck import faults, pools, watch
from healthcheck.asgi import Receive, Scope, Send

Answer = tuple[int, dict[str, Any]]


def live() -> Answer:
    """The event loop turns; nothing else is looked at."""
    return 200, {"status": "pass"}


def ready() -> Answer:
    """Whether this process should get requests: migrations applied, pools open, the server answers."""
    current = watch.current()
    reason = "starting" if current is None else current.not_ready()
    return (200, {"status": "pass"}) if reason is None else (503, {"status": "fail", "reason": reason})


def health() -> Answer:
    """Everything that this process knows about its connections, without asking anybody."""
    figures, gauges = pools.measure_all(), pools.read_gauges()
    current = watch.current()
    answers = current is not None and current.answers
    notes = [*_full(figures), *_queued(gauges), *_server_notes(current)]
    notes += [f"{fault} within the last minute" for fault in faults.recent()]
    if current is not None and current.server_is_gone:
        status = "fail"
        notes.insert(0, "the database does not answer")
    elif not answers and not any(pool["idle"] for pool in figures.values()):
        status = "fail"
        notes.insert(
            0, "the database does not answer the watch connection, and no pool has a connection left"
        )
    else:
        if not answers:
            notes.insert(0, "the database does not answer the watch connection")
        status = "warn" if notes else "pass"
    return 503 if status == "fail" else 200, {
        "status": status,
        "version": version(),
        "role": settings.PROCESS_ROLE,
        "pools": figures,
        **gauges,
        "faults": faults.counts(),
        "notes": notes,
    }


def _full(figures: dict[str, dict[str, int]]) -> list[str]:
    notes = []
    for name, pool in figures.items():
        # A join writer may hold its only connection whenever it writes; what tells is its backlog.
        is_full = pool["used"] >= pool["max"] and name != "joins"
        if is_full or pool["waiting"]:
            notes.append(
                f"{name}: {pool['used']} of {pool['max']} connections used, {pool['waiting']} waiting"
            )
    return notes


def _queued(gauges: dict[str, dict[str, int]]) -> list[str]:
    notes = []
    for name, gauge in gauges.items():
        level = gauge.get("busy", gauge.get("backlog", 0))
        if level >= gauge.get("max", pools.most(name)) or gauge.get("waiting", 0):
            waiting = gauge.get("waiting", gauge.get("backlog", 0))
            notes.append(f"{name}: {gauge.get('busy', 0)} at work, {waiting} waiting")
    return notes


def _server_notes(current: watch.Watch | None) -> list[str]:
    if current is None or current.look is None or not current.answers:
        return []
    look = current.look
    warn = settings.CONNECTION_PLAN.warn.of(look.server.max_connections)
    if look.connections > warn:
        return [f"{look.connections} connections are open on the server, over the line of {warn}"]
    return []


@functools.cache
def version() -> str:
    """This project's version, as `pyproject.toml` has it."""
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    return str(project["project"]["version"])


ROUTES: dict[str, Callable[[], Answer]] = {
    "/health": health,
    "/health/live": live,
    "/health/ready": ready,
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one of `ROUTES`; any other path is not found.

    Any host may ask, since a platform's own checks use names of their own.
    """
    path, method = scope["path"], scope["method"]
    if path not in ROUTES:
        status, body = 404, {"status": "fail", "reason": "not_found"}
    elif method in ("GET", "HEAD"):
        status, body = ROUTES[path]()
    else:
        status, body = 405, {"status": "fail", "reason": "method_not_allowed"}
    content = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/health+json"),
        (b"content-length", str(len(content)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    elif status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})
