"""The one door: every request of the web process comes in here.

Health first, since it must answer whatever happens; then the lane and its files, which are all that the waitlist's
visitors ask for, and the streams of progress, on the event loop; then the admin's files; then Django's pages, in one
of a few threads.
"""

import contextlib
import os
from collections.abc import AsyncIterator

from roadmap.server import role

role.become("web")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")

import django  # noqa: E402  # the role comes before the settings

django.setup()

from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

from healthcheck import views as health  # noqa: E402
from healthcheck.asgi import Receive, Scope, Send  # noqa: E402
from roadmap.runs import streams  # noqa: E402
from roadmap.server import assets, client, lifespan, resources  # noqa: E402
from roadmap.server.django_pages import DjangoPages  # noqa: E402
from waitlist.lane import PATHS, Lane  # noqa: E402

trusted_proxies = settings.TRUSTED_PROXIES
lane = Lane(settings.CONNECTION_PLAN.join_deadline, settings.JOIN_RATE_LIMIT)
own_files = assets.load()
pages = DjangoPages(settings.CONNECTION_PLAN.page_deadline)
static_url = settings.STATIC_URL
admins_files = ServeStaticASGI(
    pages,
    root=settings.STATIC_ROOT,
    prefix=settings.STATIC_URL,
    allow_all_origins=False,
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan.run(receive, send, opened())
        return
    if trusted_proxies:
        client.see_through(scope, trusted_proxies)
    if scope["path"] in health.ROUTES:
        await health.answer(scope["path"], scope["method"], send)
    elif scope["path"] in PATHS:
        await lane(scope, receive, send)
    elif stream := streams.PATH.fullmatch(scope["path"]):
        await streams.answer(stream[1], scope, receive, send)
    elif asset := own_files.get(scope["path"]):
        await assets.answer(asset, scope, send)
    elif scope["path"].startswith(static_url):
        await admins_files(scope, receive, send)
    else:
        await pages(scope, receive, send)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[None]:
    async with resources.opened_for_web() as web:
        lane.writer, pages.threads = web
        yield
        lane.writer = pages.threads = None
