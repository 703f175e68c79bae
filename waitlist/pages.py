"""The waitlist's pages as bytes: rendered once per language, since they are the same for everyone."""

import gzip
import hashlib
import json
from dataclasses import dataclass

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext_noop

from waitlist.rules import Header

UNREADABLE = gettext_noop("Your browser sent something that we could not read.")
# Why somebody gets the first page again, by the status; the reason of a bad address is in its own words.
REASONS = {
    400: UNREADABLE,
    403: gettext_noop("The form was sent from a page of another site. Please use this one."),
    405: UNREADABLE,
    408: gettext_noop("What you sent did not arrive in time."),
    413: gettext_noop("What you sent is too long to be an e-mail address."),
    415: UNREADABLE,
    429: gettext_noop(
        "Too many people have joined from your network just now. Please try again in a minute."
    ),
}
MAX_AGE = b"public, max-age=0, must-revalidate"  # the ETag makes asking again cheap


@dataclass(frozen=True)
class Page:
    """One page in one language, plain and compressed, with the headers that belong to each."""

    content: bytes
    compressed: bytes
    etag: bytes
    headers: tuple[Header, ...]
    compressed_headers: tuple[Header, ...]


@dataclass(frozen=True)
class Pages:
    """What a language's visitors can see."""

    landing: Page
    thanks: Page
    busy: bytes
    refused: dict[int, bytes]  # by the status
    joined: bytes  # the API's answer
    joined_headers: tuple[Header, ...]


def render_all() -> dict[str, Pages]:
    """Every page in every language of the site."""
    rendered = {}
    for language, _ in settings.LANGUAGES:
        with translation.override(language):
            rendered[language] = Pages(
                landing=_page(render_landing(), language),
                thanks=_page(render_to_string("waitlist/thanks.html").encode(), language),
                busy=render_to_string("503.html").encode(),
                refused={
                    status: render_landing(error=translation.gettext(reason))
                    for status, reason in REASONS.items()
                },
                joined=(joined := _joined()),
                joined_headers=(
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(joined)).encode()),
                    (b"cache-control", b"no-store"),
                ),
            )
    return rendered


def render_landing(
    email: str = "", source: str = "", error: str = "", *, address_is_bad: bool = False
) -> bytes:
    """The landing page in the language that is active, with what was typed and why it was not taken."""
    context = {"email": email, "source": source, "error": error, "address_is_bad": address_is_bad}
    return render_to_string("waitlist/landing.html", context).encode()


def _page(content: bytes, language: str) -> Page:
    # mtime=0: the same page gives the same bytes in every process.
    compressed = gzip.compress(content, 9, mtime=0)
    # Weak, since the plain and the compressed form share it.
    etag = b'W/"' + hashlib.sha256(content).hexdigest()[:32].encode() + b'"'
    common: list[Header] = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-language", language.encode()),
        (b"cache-control", MAX_AGE),
        (b"vary", b"Accept-Language, Accept-Encoding"),
        (b"etag", etag),
    ]
    return Page(
        content,
        compressed,
        etag,
        (*common, (b"content-length", str(len(content)).encode())),
        (*common, (b"content-encoding", b"gzip"), (b"content-length", str(len(compressed)).encode())),
    )


def _joined() -> bytes:
    message = translation.gettext("You are on the list. We write to you when your place is ready.")
    return json.dumps({"success": True, "message": message}, ensure_ascii=False).encode()
