"""Who asks: somebody with a bearer token, or the signed-in browser of somebody.

A token is shown once, when it is made. The table has its SHA-256 digest: a token is 256 random bits, so there is
nothing to try out, and nothing for a slow hash to protect.
"""

import functools
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.http.cookie import parse_cookie
from django.utils import timezone

from roadmap.errors import problem
from roadmap.models import Token
from roadmap.sessions import SessionStore

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
    return owner_of_digest(digest_in(authorization))


def digest_in(authorization: str) -> str:
    """The digest of the token in an `Authorization` header.

    Raises:
        BadToken: there is none.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise BadToken
    return digest(secret.strip())


def owner_of_digest(digest: str) -> User:
    """Raises BadToken: no token has it, or its owner may not come in."""
    found = Token.objects.select_related("owner").filter(digest=digest, owner__is_active=True)
    token = found.first()
    if token is None:
        raise BadToken
    note_use(token)
    return token.owner


def note_use(token: Token) -> None:
    if token.last_used_at and timezone.now() - token.last_used_at < USED_AGAIN:
        return
    unused = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USED_AGAIN)
    Token.objects.filter(unused, pk=token.pk).update(last_used_at=Now())


class Sender(NamedTuple):
    """What a request for a stream says of who sends it: a token's digest, or else a session's key."""

    digest: str
    session: str

    def person(self) -> int:
        """In a thread: the id of who that is.

        Raises:
            BadToken: nobody that may come in.
        """
        if self.digest:
            return owner_of_digest(self.digest).pk
        request = HttpRequest()
        request.session = SessionStore(self.session)
        person = get_user(request)
        if person.pk is None:
            raise BadToken
        return int(person.pk)


def sender_of(headers: Mapping[bytes, bytes]) -> Sender:
    """Whoever it is, without asking the database.

    Raises:
        BadToken: there is neither a bearer token nor a session's cookie.
    """
    authorization = headers.get(b"authorization")
    if authorization is not None:
        return Sender(digest_in(authorization.decode("latin-1")), "")
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    session = SessionStore(cookies.get(settings.SESSION_COOKIE_NAME)).session_key
    if session is None:
        raise BadToken
    return Sender("", session)


def still_known(senders: Collection[Sender]) -> set[Sender]:
    """In a thread: those whose token is not revoked, or who are still signed in, and whose account is active."""
    tokens = Token.objects.filter(digest__in={one.digest for one in senders}, owner__is_active=True)
    known = {Sender(digest, "") for digest in tokens.values_list("digest", flat=True)}
    keys = {one.session for one in senders if one.session}
    sessions = Session.objects.filter(session_key__in=keys, expire_date__gt=Now())
    said = {session.session_key: session.get_decoded() for session in sessions}
    people = User.objects.in_bulk(
        [content[SESSION_KEY] for content in said.values() if SESSION_KEY in content]
    )
    hashes = {str(pk): person.get_session_auth_hash() for pk, person in people.items() if person.is_active}
    for key, content in said.items():
        # A changed password has another hash, and ends the sessions that it began in.
        if hashes.get(content.get(SESSION_KEY, ""), "") == content.get(HASH_SESSION_KEY):
            known.add(Sender("", key))
    return known & {*senders}


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
