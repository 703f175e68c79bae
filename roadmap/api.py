"""The API of roadmaps: thin fronts on the door; every error is a problem document.

The stream of events is answered in front of Django (`roadmap.runs.streams`), the waitlist by its lane.
"""

import functools
import uuid
from collections.abc import Callable, Collection
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from roadmap import openapi, reading
from roadmap.accounts import for_person
from roadmap.errors import problem
from roadmap.runs import door
from roadmap.views import markdown_file
from waitlist.forms import Malformed, read_json

View = Callable[..., HttpResponse]
NUMBERS = ("hours_per_week", "weeks")


class Refused(Exception):
    """The request cannot be taken; it is answered with `response`."""

    def __init__(self, response: HttpResponse):
        super().__init__(response.status_code)
        self.response = response


def answers(*methods: str) -> Callable[[View], View]:
    """A view of the API for these methods, whose refusals are problem documents.

    It needs no CSRF token: a browser's cookie can only read here (`for_person`).
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @never_cache
        @functools.wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method not in methods:
                response = problem(405, _("This path does not take that method."))
                response["Allow"] = ", ".join(methods)
                return response
            try:
                request.body  # noqa: B018  # it is bound for those too who need none
                return view(request, *args, **kwargs)
            except RequestDataTooBig:
                return problem(413, _("The body may have at most 64 KiB."))
            except Refused as refused:
                return refused.response
            except door.NotFound:
                return problem(404)
            except door.WrongState as error:
                return problem(409, _("The roadmap’s state does not allow this."), state=error.state)
            except door.LimitReached as error:
                response = problem(429, str(error))
                response["Retry-After"] = str(error.retry_after)
                return response
            except door.UnknownGoal as error:
                text = _("No model is set, and the built-in catalogue does not know this goal.")
                topics = ", ".join(error.nearest)
                goal = _("The nearest topics are: %(topics)s.") % {"topics": topics}
                return problem(422, text, errors={"goal": [goal]}, nearest=error.nearest)
            except door.Invalid as error:
                return invalid(error.errors)

        return checked

    return decorate


@answers("POST")
@for_person()
def roadmaps(request: HttpRequest, person: User) -> HttpResponse:
    brief = known_fields(json_of(request), texts=("level", "language"), numbers=NUMBERS, needed=("goal",))
    roadmap = door.start(person, **brief)
    links = reading.links_of(roadmap.id)
    content = {"id": str(roadmap.id), "status": roadmap.state, "links": links}
    return JsonResponse(content, status=201, headers={"Location": links["self"]})


@answers("GET", "HEAD")
@for_person(browser=True)
def roadmap(request: HttpRequest, person: User, roadmap_id: uuid.UUID) -> HttpResponse:
    found = reading.whole(person, roadmap_id)
    return problem(404) if found is None else JsonResponse(reading.as_json(found))


@answers("GET", "HEAD")
@for_person(browser=True)
def export(request: HttpRequest, person: User, roadmap_id: uuid.UUID) -> HttpResponse:
    found = reading.whole(person, roadmap_id)
    return problem(404) if found is None else markdown_file(found)


@answers("POST")
@for_person()
def review(request: HttpRequest, person: User, roadmap_id: uuid.UUID) -> HttpResponse:
    said = known_fields(json_of(request), texts=("feedback",), needed=("decision",))
    door.review(roadmap_id, person, **said)
    return accepted(roadmap_id)


@answers("POST")
@for_person()
def cancel(request: HttpRequest, person: User, roadmap_id: uuid.UUID) -> HttpResponse:
    door.cancel(roadmap_id, person)
    return accepted(roadmap_id)


@answers("POST")
@for_person()
def retry(request: HttpRequest, person: User, roadmap_id: uuid.UUID) -> HttpResponse:
    door.retry(roadmap_id, person)
    return accepted(roadmap_id)


@answers("GET", "HEAD")
def description(request: HttpRequest) -> HttpResponse:
    return JsonResponse(openapi.DESCRIPTION)


def accepted(roadmap_id: uuid.UUID) -> HttpResponse:
    """It is on its way; the roadmap itself tells how far."""
    return JsonResponse({"id": str(roadmap_id), "links": reading.links_of(roadmap_id)}, status=202)


def json_of(request: HttpRequest) -> dict[str, Any]:
    """The object in the body.

    Raises:
        Refused: another content type, or not a JSON object.
    """
    if request.content_type != "application/json":
        raise Refused(problem(415, _("The body must be application/json.")))
    try:
        return read_json(request.body)
    except Malformed as error:
        raise Refused(problem(400, str(error))) from None


def known_fields(
    content: dict[str, Any],
    *,
    texts: Collection[str] = (),
    numbers: Collection[str] = (),
    needed: Collection[str] = (),
) -> dict[str, Any]:
    """The fields that are known, each of its type; null is as good as absent. The `needed` ones are texts.

    Raises:
        Refused: one is of another type, or lacking.
    """
    fields = {name: value for name, value in content.items() if value is not None}
    errors = {name: [_("This field is required.")] for name in needed if name not in fields}
    for name in (*texts, *needed):
        if not isinstance(fields.get(name, ""), str):
            errors[name] = [_("This must be a text.")]
    for name in numbers:
        if type(fields.get(name, 0)) is not int:  # a bool is an int, too
            errors[name] = [_("This must be a whole number.")]
    if errors:
        raise Refused(invalid(errors))
    return {name: fields[name] for name in (*texts, *numbers, *needed) if name in fields}


def invalid(errors: dict[str, list[str]]) -> HttpResponse:
    return problem(422, _("Some fields cannot be taken as they are."), errors=errors)
