"""From the body of a request to a row: the JSON API and the page's form, with the same judgement."""

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from django.utils.translation import gettext as _

from waitlist.addresses import clean_source, normalise
from waitlist.joins import Row

MAX_BODY = 4096  # bytes: an address, a source and room for a form's overhead
MAX_FIELDS = 20


class Malformed(ValueError):
    """The body is not what its content type says; the text is one sentence."""


class Invalid(ValueError):
    """The body can be read, but a field cannot be taken; `errors` has the sentences by field."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__(errors)
        self.errors = errors


class Form(NamedTuple):
    """What the page sends. `trap` is a field that people do not see; only programs fill it in."""

    email: str
    source: str
    trap: str


def read_json(body: bytes) -> dict[str, Any]:
    """The object that an API body holds.

    Raises:
        Malformed: not UTF-8, not JSON, not an object, nested too deep, or a name twice.
    """
    try:
        content = _DECODER.decode(body.decode())
    except RecursionError:
        raise Malformed(_("The body is nested too deep.")) from None
    except _Twice as error:
        raise Malformed(_("The body has the name “%(name)s” twice.") % {"name": error}) from None
    except ValueError:
        raise Malformed(_("The body is not JSON in UTF-8.")) from None
    if not isinstance(content, dict):
        raise Malformed(_("The body is not a JSON object."))
    return content


def read_form(body: bytes) -> Form:
    """The fields that the page sends.

    Raises:
        Malformed: not a form in UTF-8, or one with too many fields.
    """
    try:
        fields = dict(
            parse_qsl(
                body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
            )
        )
    except ValueError:
        raise Malformed("The form is not one in UTF-8, or has too many fields.") from None
    return Form(fields.get("email", ""), fields.get("source", ""), fields.get("website", ""))


def judge(email: object, source: object, language: str) -> Row:
    """The row of a join; the sentences of a refusal are in the language that is active.

    Raises:
        Invalid: a field is missing, of a wrong type, or not to be taken.
    """
    errors: dict[str, list[str]] = {}
    typed = normalised = label = ""
    try:
        typed = _text(email).strip()
        normalised = normalise(typed)
    except ValueError as error:
        errors["email"] = [str(error)]
    try:
        label = clean_source(_text(source))
    except ValueError as error:
        errors["source"] = [str(error)]
    if errors:
        raise Invalid(errors)
    return Row(typed, normalised, label, language)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(_("This field is required.") if value is None else _("This must be a text."))


class _Twice(Exception):
    """A name stands twice in one object."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return content


def _no_constant(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
