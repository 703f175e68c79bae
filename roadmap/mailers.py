"""`EMAIL_URL`, read strictly: which server takes our e-mail, and from whom it comes."""

from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from roadmap.environment import BadValue

TAKES = "smtp://, smtp+tls:// or smtps://, user:password@host:port, ?from=address; or console:"
TIMEOUT = 10  # seconds that an e-mail server may take for one step
OPTIONS = {
    "smtp": {},
    "smtp+tls": {"use_tls": True},  # STARTTLS
    "smtps": {"use_ssl": True},
}


class Mail(NamedTuple):
    """Django's `MAILERS` and `DEFAULT_FROM_EMAIL`."""

    mailers: dict[str, Any]
    sender: str


def read_email_url(address: str) -> Mail:
    """Where e-mail goes; an empty address is for a site that sends none.

    Raises:
        BadValue: it is no such address. The text does not repeat it, since there may be a password in it.
    """
    if not address:
        return Mail({}, "")
    if address == "console:":
        console = {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
        return Mail({"default": console}, "roadmap@localhost")
    try:
        parts = urlsplit(address)
        port, query = parts.port, parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise BadValue("EMAIL_URL", "…", TAKES) from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    (sender,) = query.pop("from", [user])[-1:]
    if parts.scheme not in OPTIONS or not parts.hostname or query or "@" not in sender:
        raise BadValue("EMAIL_URL", f"{parts.scheme}://…", TAKES)
    options = {"host": parts.hostname, "port": port, "username": user, "password": password}
    return Mail({"default": {"OPTIONS": {**options, "timeout": TIMEOUT, **OPTIONS[parts.scheme]}}}, sender)
