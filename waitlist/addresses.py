"""The one place where an e-mail address, and where it came from, is judged.

The page, the JSON API and the admin all ask here, so that they never differ. Pure functions: no
database, no request, no wait. They run on the event loop, once for every join.
"""

import re

import idna
from django.utils.translation import gettext as _

# RFC 5321, 4.5.3.1, less the two angle brackets: what a mail server must accept.
MAX_LENGTH = 254
MAX_LOCAL_LENGTH = 64
MAX_SOURCE_LENGTH = 64

_ATOM = r"[-!#$%&'*+/=?^_`{|}~0-9a-z]+"
_LOCAL = rf"{_ATOM}(?:\.{_ATOM})*"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

# A plain address as nearly everyone types it: all ASCII, no label that IDNA would have to read.
# Every quantifier is followed by something it cannot match itself, so a refusal is as fast as a match.
_PLAIN = re.compile(rf"{_LOCAL}@(?:(?!xn--){_LABEL}\.)+[a-z]{{2,63}}")
_LOCAL_PART = re.compile(_LOCAL)
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{0,58}}[a-z0-9])")
_IP_LITERAL = re.compile(r"\[.*\]|[0-9.]+")


class BadAddress(ValueError):
    """No address that we could write to; `str()` is one sentence for the visitor, in their language."""


class BadSource(ValueError):
    """No usable name of a source; `str()` is one sentence for the visitor, in their language."""


def normalise(typed: str) -> str:
    """The form under which an address is known, whichever way it is spelled: ASCII, lower case, ≤ 254.

    Surrounding white space is trimmed, letter case folded, an internationalised domain brought to its
    A-labels (UTS #46, then IDNA 2008), so that `Zoe@MÜNCHEN.example` and `zoe@xn--mnchen-3ya.example`
    are one address. `a+b@…` and `a@…` stay two: only the receiving host knows whether they are one.

    A local part outside ASCII (RFC 6531) is refused. It can be written to only when every mail server
    on the way agrees, and nobody but the last of them knows which spellings of it are the same, so we
    could neither promise the invitation nor keep the address single.

    Raises BadAddress.
    """
    text = typed.strip()
    # Only ASCII may be lowered before it is judged: the Kelvin sign, for one, becomes a plain k.
    if text.isascii():
        lowered = text.lower()
        if (
            _PLAIN.fullmatch(lowered)
            and len(lowered) <= MAX_LENGTH
            and lowered.index("@") <= MAX_LOCAL_LENGTH
        ):
            return lowered
    return _normalise_slowly(text)


def clean_source(text: str) -> str:
    """Where somebody came from, as the link that brought them says it: trimmed, visible, at most 64.

    Raises BadSource.
    """
    source = text.strip()
    if len(source) > MAX_SOURCE_LENGTH:
        raise BadSource(_("The source may have at most %(most)d characters.") % {"most": MAX_SOURCE_LENGTH})
    # False for controls, surrogates, direction and zero-width marks, and every space but the plain one.
    if not source.isprintable():
        raise BadSource(_("The source may have visible characters only."))
    return source


def _normalise_slowly(text: str) -> str:
    """Name what is wrong, most telling first; what is left is an internationalised domain."""
    if not text:
        raise BadAddress(_("Please enter your e-mail address."))
    if len(text) > MAX_LENGTH:
        raise BadAddress(_("An e-mail address has at most %(most)d characters.") % {"most": MAX_LENGTH})
    _refuse_what_cannot_be_seen(text)
    local, at, domain = text.rpartition("@")
    if not at:
        raise BadAddress(_("An e-mail address needs an @, as in name@example.com."))
    _refuse_bad_local_part(local)
    normalised = f"{local.lower()}@{_ascii_domain(domain)}"
    if len(normalised) > MAX_LENGTH:
        raise BadAddress(
            _("Written as mail servers need it, this address is longer than %(most)d characters.")
            % {"most": MAX_LENGTH}
        )
    return normalised


def _refuse_what_cannot_be_seen(text: str) -> None:
    for place, character in enumerate(text, start=1):
        if character.isspace():
            raise BadAddress(_("An e-mail address has no spaces in it."))
        if not character.isprintable():
            raise BadAddress(
                _(
                    "Character %(place)d of this address (U+%(code)04X) cannot be seen. "
                    "Please type the address instead of pasting it."
                )
                % {"place": place, "code": ord(character)}
            )


def _refuse_bad_local_part(local: str) -> None:
    if not local:
        raise BadAddress(_("The part before the @ is missing, as in name@example.com."))
    if local.startswith('"'):
        raise BadAddress(_("We cannot write to addresses with quotation marks before the @."))
    if "@" in local:
        raise BadAddress(_("An e-mail address has only one @."))
    if not local.isascii():
        raise BadAddress(_("We can write only to addresses with plain letters (a–z) before the @."))
    if len(local) > MAX_LOCAL_LENGTH:
        raise BadAddress(
            _("The part before the @ may have at most %(most)d characters.") % {"most": MAX_LOCAL_LENGTH}
        )
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise BadAddress(_("Before the @, a dot may stand neither first nor last nor next to another dot."))
    if not _LOCAL_PART.fullmatch(local.lower()):
        bad = next(character for character in local.lower() if not re.fullmatch(rf"{_ATOM}|\.", character))
        raise BadAddress(_("The character %(bad)s cannot be part of an e-mail address.") % {"bad": bad})


def _ascii_domain(domain: str) -> str:
    if not domain:
        raise BadAddress(_("The part after the @ is missing, as in name@example.com."))
    if _IP_LITERAL.fullmatch(domain):
        raise BadAddress(_("After the @ we need a name such as example.com, not the number of a computer."))
    try:
        # UTS #46 also reads the full-width dot as a dot; labels of plain ASCII need no IDNA.
        labels = idna.uts46_remap(domain).split(".")
        ascii_domain = ".".join(
            idna.alabel(label).decode("ascii") if not label.isascii() or label.startswith("xn--") else label
            for label in labels
        )
    except idna.IDNAError as error:
        raise BadAddress(_impossible(domain)) from error
    if "." not in ascii_domain:
        raise BadAddress(_("After the @ we need a name with a dot in it, such as example.com."))
    if not _DOMAIN.fullmatch(ascii_domain):
        raise BadAddress(_impossible(domain))
    return ascii_domain


def _impossible(domain: str) -> str:
    return _("There can be no domain called %(domain)s. Please look for a slip after the @.") % {
        "domain": domain
    }
