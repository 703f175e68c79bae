"""The one door: every request of the web process comes in here.

Health first, since it must answer whatever happens; then the lane and its files, which are all that the waitlist's
visitors ask for, and the streams of progress, on the event loop; then the admin's files; then Django's pages, in one
of a few threads.
"""

import contextlib
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import unquote

from roadmap.server import role

role.become("web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")

import django  # noqa: E402  # the role comes before the settings
import httptools  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from healthcheck import faults  # noqa: E402
from healthcheck import views as health  # noqa: E402
from healthcheck.asgi import Receive, Scope, Send  # noqa: E402
from roadmap.runs import streams  # noqa: E402
from roadmap.server import assets, client, lifespan, memory, resources  # noqa: E402
from roadmap.server.django_pages import DjangoPages, refusal_of  # noqa: E402
from roadmap.server.refusals import LONGEST, Refusal, Telling  # noqa: E402
from waitlist.lane import PATHS, Lane  # noqa: E402

trusted_proxies = settings.TRUSTED_PROXIES
lane = Lane(settings.CONNECTION_PLAN.join_deadline, settings.JOIN_RATE_LIMIT)
own_files = assets.Assets()
pages = DjangoPages(settings.CONNECTION_PLAN.page_deadline)
static_url = settings.STATIC_URL
admins_files = ServeStaticASGI(
    pages,
    root=settings.STATIC_ROOT,
    prefix=settings.STATIC_URL,
    allow_all_origins=False,
)


def destination(path: str) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Who answers for a path; what is kept must not be large."""
    return kept_destination(path) if len(path) <= LONGEST else found_destination(path)


def found_destination(path: str) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    if path in health.ROUTES:
        return health.application
    if path in PATHS:
        return lane
    if path in own_files.by_path:
        return own_files
    if streams.PATH.fullmatch(path):
        return streams.application
    if path.startswith(static_url):
        return admins_files
    return pages


kept_destination = functools.lru_cache(maxsize=1024)(found_destination)


class Site:
    """The application, as the server knows it (`roadmap.server.http`)."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return lifespan.run(receive, send, opened())
        if trusted_proxies:
            client.see_through(scope, trusted_proxies)
        return destination(scope["path"])(scope, receive, send)

    def is_full(self) -> bool:
        return pages.are_full()

    def refusal(self, told: Telling) -> Refusal | None:
        """The answer for a page for which there would be no thread in time."""
        refusal = refusal_by(told)
        if refusal is not None:
            faults.record("pool_full", "threads")
        return refusal


@functools.lru_cache(maxsize=1024)
def refusal_by(told: Telling) -> Refusal | None:
    """What a page is refused with, None for what is no page: past capacity it is the same for thousands."""
    path = unquote(httptools.parse_url(told.path).path.decode("ascii"))
    if destination(path) is not pages:
        return None
    scheme = client.scheme(told.forwarded_proto, trusted_proxies, told.scheme)
    return refusal_of(503, scheme, path, told.accept_language)


application = Site()


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    async with resources.opened_for_web() as web:
        lane.writer, pages.threads = web
        memory.settle()
        yield
        lane.writer = pages.threads = None
