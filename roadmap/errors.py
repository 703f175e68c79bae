"""What an error looks like: a page for people, a problem document for programs."""

import logging
import sys
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from healthcheck import faults
from roadmap.runs.patience import gave_way
from roadmap.server.django_pages import LEFT

PROBLEM = "application/problem+json"

logger = logging.getLogger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 403)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return answer(request, 403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """A fault of a connection, or of what came in between, is a 503 that says when to come back.

    Anything else is our mistake.
    """
    error = sys.exception()
    if fault := faults.classify(error) if error else None:
        if not request.scope.get(LEFT):  # type: ignore[attr-defined]  # else it is counted already, as what it is
            faults.record(fault, request.path, error)
    elif isinstance(error, Exception) and gave_way(error):
        logger.warning("%r gave way: %s", request.path, " ".join(str(error.__cause__ or error).split()))
    else:
        return answer(request, 500)
    response = answer(request, 503)
    response["Retry-After"] = "1"
    # It has its line in the log; Django's would add a traceback to each.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def answer(request: HttpRequest, status: int) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problem(status)
    return render(request, f"{status}.html", status=status)


def problem(status: int, detail: str = "", **more: Any) -> JsonResponse:
    content = problem_content(status, detail, **more)
    return JsonResponse(content, status=status, content_type=PROBLEM)


def problem_content(status: int, detail: str = "", **more: Any) -> dict[str, Any]:
    """An RFC 9457 problem document."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **more}
    return {**content, "detail": detail} if detail else content
