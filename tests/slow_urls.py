"""The service's pages, and some that keep a thread, a query or a connection."""

import threading
import time

from django.db import connection, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from roadmap.urls import *  # noqa: F403
from roadmap.urls import urlpatterns as pages


def query(request: HttpRequest) -> HttpResponse:
    """A page with a query of `seconds`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [float(request.GET.get("seconds", "0"))])
    return HttpResponse("done")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """A query, then `parts` parts of 64 KiB with nothing to do with the database."""
    query(request)
    parts = int(request.GET["parts"])
    return StreamingHttpResponse(b"x" * 65536 for _ in range(parts))


def busy(request: HttpRequest) -> HttpResponse:
    """A page that keeps a thread without the database."""
    time.sleep(float(request.GET["seconds"]))
    return HttpResponse("done")


def hoard(request: HttpRequest) -> HttpResponse:
    """Every connection of the ORM pool, taken and kept for `seconds` after this page's own has gone back."""
    pool = connections["default"].pool
    seconds = float(request.GET["seconds"])

    def keep() -> None:
        taken = [pool.getconn(timeout=10) for _ in range(pool.max_size)]
        time.sleep(seconds)
        for one in taken:
            pool.putconn(one)

    threading.Thread(target=keep).start()
    return HttpResponse("hoarding")


urlpatterns = [
    path("slow/hoard", hoard),
    path("slow/query", query),
    path("slow/stream", stream),
    path("slow/busy", busy),
    *pages,
]
