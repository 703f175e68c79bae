"""What Django's middleware would have checked and added, for the requests that the lane answers itself.

Every rule reads the same setting as Django's own; `tests/waitlist/test_lane_and_django.py` sends the same requests
to both.
"""

import functools
import re
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.csp import build_policy
from django.utils.http import is_same_domain, parse_etags
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

Header = tuple[bytes, bytes]


LONGEST = 500  # bytes of a header that is remembered; Django looks at no more of Accept-Language


@functools.lru_cache(maxsize=1024)
def allowed_host(host: bytes) -> str | None:
    """The `Host` header, of at most `LONGEST`, as text if this site answers to it, else None."""
    text = host.decode("latin-1")
    domain, _ = split_domain_port(text)
    return text if domain and validate_host(domain, settings.ALLOWED_HOSTS) else None


@functools.lru_cache(maxsize=1024)
def language_of(accept_language: bytes) -> str:
    """The site's language that suits an `Accept-Language` header best; one byte over `LONGEST` says it was longer."""
    for code, _ in parse_accept_lang_header(accept_language.decode("latin-1")):
        if code == "*":
            break
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an `Accept-Encoding` header takes gzip (RFC 9110, 12.5.3); empty if there is none."""
    return len(accept_encoding) <= LONGEST and _accepts_gzip(accept_encoding)


@functools.lru_cache(maxsize=1024)
def _accepts_gzip(accept_encoding: bytes) -> bool:
    weights = {}
    for entry in accept_encoding.decode("latin-1").lower().split(","):
        coding, *parameters = (part.strip() for part in entry.split(";"))
        weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        # A weight is 0 to 1 with at most three digits; what is none is not asked for.
        weights[coding] = bool(re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", weight)) and float(weight) > 0
    return weights.get("gzip", weights.get("*", False))


def is_known(etag: bytes, if_none_match: bytes) -> bool:
    """Whether an `If-None-Match` header names a page; compared weakly (RFC 9110, 13.1.2) and read as Django does."""
    tags = parse_etags(if_none_match.decode("latin-1"))
    return tags == ["*"] or etag.decode().removeprefix("W/") in [tag.removeprefix("W/") for tag in tags]


def cross_site(scheme: str, host: str, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser sent this from a page of another site.

    Browsers send `Origin` with what they post; those that do not say at least `Sec-Fetch-Site`, or a `Referer`, which
    Django believes over https alone. With none of them it was no browser's form, and there is no session that it
    could abuse.
    """
    origin = headers.get(b"origin")
    if origin is not None:
        return len(origin) > LONGEST or not trusted_origin(origin.decode("latin-1"), scheme, host)
    if headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none"):
        return True
    if scheme != "https":
        return False
    referer = headers.get(b"referer")
    return referer is not None and not trusted_referer(referer.decode("latin-1"), host)


@functools.lru_cache(maxsize=1024)
def trusted_origin(origin: str, scheme: str, host: str) -> bool:
    """Whether an origin is this site or one of `CSRF_TRUSTED_ORIGINS`, as Django's CSRF check has it."""
    if origin == f"{scheme}://{host}" or origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    wildcards = (urlsplit(trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS if "*" in trusted)
    return any(
        parts.scheme == wildcard.scheme and is_same_domain(parts.netloc, wildcard.netloc.lstrip("*"))
        for wildcard in wildcards
    )


def trusted_referer(referer: str, host: str) -> bool:
    """The same for the address of the page that a request over https came from."""
    try:
        parts = urlsplit(referer)
    except ValueError:
        return False
    trusted = (urlsplit(origin).netloc.lstrip("*") for origin in settings.CSRF_TRUSTED_ORIGINS)
    return parts.scheme == "https" and any(is_same_domain(parts.netloc, site) for site in (host, *trusted))


@functools.cache
def cors_is_on() -> bool:
    return bool(settings.CORS_ALLOWED_ORIGINS)


def cors_origin(headers: dict[bytes, bytes]) -> bytes | None:
    """The request's origin if `CORS_ALLOWED_ORIGINS` names it."""
    origin = headers.get(b"origin")
    return (
        origin if origin is not None and origin.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS else None
    )


@functools.cache
def security_headers(scheme: str) -> tuple[Header, ...]:
    """The headers that every answer carries, as Django's middleware sets them."""
    headers = [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", settings.SECURE_REFERRER_POLICY),
        ("cross-origin-opener-policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY),
        ("x-frame-options", settings.X_FRAME_OPTIONS),
        ("content-security-policy", build_policy(settings.SECURE_CSP)),
    ]
    if settings.SECURE_HSTS_SECONDS and scheme == "https":
        headers.append(("strict-transport-security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    return tuple((name.encode(), value.encode()) for name, value in headers)
