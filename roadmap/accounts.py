"""Who asks: somebody with a bearer token, or the signed-in browser of somebody.

A token is shown once, when it is made. The table has its SHA-256 digest: a token is 256 random bits, so there is
nothing to try out, and nothing for a slow hash to protect.
"""

import functools
import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.http.cookie import parse_cookie
from django.utils import timezone

from healthcheck.asgi import Scope
from roadmap.errors import problem
from roadmap.models import Token
from roadmap.server.threads import Threads

PREFIX = "roadmap_"  # so that a token in the wrong place is known for what it is
USED_AGAIN = timedelta(minutes=1)  # a token in use is written to at most this often

View = Callable[..., HttpResponse]


class BadToken(Exception):
    """An `Authorization` header that names nobody: not a bearer token, or one that is not valid (any more)."""


def make_token(owner: User, name: str) -> str:
    """A new token of `owner`; it can be had only now."""
    secret = PREFIX + secrets.token_urlsafe(32)
    Token.objects.create(owner=owner, name=name, digest=digest(secret))
    return secret


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def owner_of_token(authorization: str) -> User:
    """Who sent this `Authorization` header.

    Raises:
        BadToken: nobody that may come in.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise BadToken
    found = Token.objects.select_related("owner").filter(digest=digest(secret.strip()))
    token = found.filter(owner__is_active=True).first()
    if token is None:
        raise BadToken
    note_use(token)
    return token.owner


def note_use(token: Token) -> None:
    if token.last_used_at and timezone.now() - token.last_used_at < USED_AGAIN:
        return
    unused = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_AGAIN)
    Token.objects.filter(unused, pk=token.pk).update(last_used_at=Now())


def owner_of_session(cookies: str) -> AbstractBaseUser | None:
    """Who is signed in with this `Cookie` header, as Django's own middleware would find it."""
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    person = get_user(request)
    return person if isinstance(person, AbstractBaseUser) else None


async def person_of(scope: Scope, threads: Threads) -> int | None:
    """The id of who asks for a stream, by token or cookie; None for nobody.

    The look-up has a thread and its connection for as long as it takes, and no longer.

    Raises:
        Full: there is no thread to be had in time.
        BadToken: there is a token, and it is not valid.
    """
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    authorization, cookies = headers.get(b"authorization"), headers.get(b"cookie", "")

    def look_up() -> int | None:
        if authorization is not None:
            return owner_of_token(authorization).pk
        person = owner_of_session(cookies)
        return person.pk if person else None

    return cast(int | None, await threads.submit(look_up).done)


def for_person(*, browser: bool = False) -> Callable[[View], View]:
    """A view of the API for whoever has a token, and with `browser` for the signed-in browser too.

    The view gets the person as its second argument. A browser may only read: what changes something takes a
    token, so no other site's page can have a browser do it.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            authorization = request.headers.get("Authorization")
            if authorization is None:
                if browser and request.user.is_authenticated:
                    return view(request, request.user, *args, **kwargs)
                return nobody("This needs a bearer token, in the header Authorization.", "")
            try:
                person = owner_of_token(authorization)
            except BadToken:
                return nobody("This bearer token is not valid.", ', error="invalid_token"')
            return view(request, person, *args, **kwargs)

        return checked

    return decorate


def nobody(detail: str, more: str) -> HttpResponse:
    """401, with what RFC 6750 wants to be told."""
    response = problem(401, detail)
    response["WWW-Authenticate"] = f'Bearer realm="roadmap"{more}'
    return response
