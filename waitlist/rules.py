"""What Django's middleware would have checked and added, for the requests that the lane answers itself.

Every rule reads the same setting as Django's own; `tests/waitlist/test_lane_and_django.py` sends the same requests
to both.
"""

import functools
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils.csp import build_policy
from django.utils.http import is_same_domain
from django.utils.translation import get_supported_language_variant
from django.utils.translation.trans_real import parse_accept_lang_header

Header = tuple[bytes, bytes]


@functools.lru_cache(maxsize=1024)
def allowed_host(host: bytes) -> str | None:
    """The `Host` header as text if this site answers to it, else None."""
    text = host.decode("latin-1")
    domain, _ = split_domain_port(text)
    return text if domain and validate_host(domain, settings.ALLOWED_HOSTS) else None


@functools.lru_cache(maxsize=1024)
def language_of(accept_language: bytes) -> str:
    """The site's language that suits an `Accept-Language` header best."""
    for code, _ in parse_accept_lang_header(accept_language.decode("latin-1")):
        if code == "*":
            break
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def cross_site(scheme: str, host: str, headers: dict[bytes, bytes]) -> bool:
    """Whether a browser sent this from a page of another site.

    `Sec-Fetch-Site` is the browser's own word and no page can set it; older browsers send at least `Origin`.
    With neither, it was no browser's form, and there is no session that it could abuse.
    """
    fetch_site = headers.get(b"sec-fetch-site")
    if fetch_site in (b"same-origin", b"none"):
        return False
    origin = headers.get(b"origin")
    if origin is None:
        return fetch_site is not None
    return not trusted_origin(origin.decode("latin-1"), scheme, host)


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
