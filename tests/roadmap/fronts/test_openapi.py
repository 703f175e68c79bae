"""The description of the API is valid, complete, and what the API really answers."""

import json
from typing import Any
from uuid import uuid4

import openapi_spec_validator
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern
from jsonschema import Draft202012Validator, FormatChecker

from roadmap import urls
from roadmap.models import Roadmap
from roadmap.openapi import DESCRIPTION
from roadmap.runs import streams
from tests.roadmap.fronts.rows import roadmap_of
from waitlist.lane import METHODS

API = "/api/v1/roadmaps"
VERBS = {"get", "post", "put", "patch", "delete", "options"}


def described() -> dict[str, set[str]]:
    """The methods of every path."""
    return {path: VERBS & item.keys() for path, item in DESCRIPTION["paths"].items()}


def assert_as_described(path: str, method: str, answer: Any) -> None:
    """That this status, content type and content are in the description."""
    responses = DESCRIPTION["paths"][path][method]["responses"]
    assert str(answer.status_code) in responses
    content = responses[str(answer.status_code)].get("content", {})
    content_type = answer["Content-Type"].partition(";")[0]
    assert content_type in content
    if content_type.endswith("json"):
        schema = {**content[content_type]["schema"], "components": DESCRIPTION["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(answer.json())


def test_it_is_valid_openapi() -> None:
    openapi_spec_validator.validate(DESCRIPTION)
    assert DESCRIPTION["openapi"].startswith("3.1.")


def test_it_has_every_path_and_method_and_no_other() -> None:
    of_django = {
        "/" + str(pattern.pattern).replace("<uuid:roadmap_id>", "{id}"): pattern.callback
        for pattern in urls.urlpatterns
        if isinstance(pattern, URLPattern) and str(pattern.pattern).startswith("api/")
    }
    elsewhere = {path for path in METHODS if path.startswith("/api/")} | {"/api/v1/roadmaps/{id}/events"}
    assert described().keys() == of_django.keys() | elsewhere
    assert streams.PATH.fullmatch(f"/api/v1/roadmaps/{uuid4()}/events")
    assert described()["/api/v1/waitlist"] == {one.lower() for one in METHODS["/api/v1/waitlist"].split(", ")}


@pytest.mark.parametrize(
    "path", sorted(path for path in described() if "waitlist" not in path and "events" not in path)
)
def test_the_methods_are_those_that_are_taken(program: Client, anna: User, path: str) -> None:
    answer = program.generic("TRACE", path.format(id=roadmap_of(anna).pk))
    allowed = {method.lower() for method in answer["Allow"].split(", ")} - {"head"}
    assert allowed == described()[path]
    (method,) = allowed
    assert_as_described(path, method, answer)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"goal": "Django"}, 201), ({"goal": "bees"}, 422), ({}, 422), ([], 400)],
)
def test_real_answers_to_a_brief_are_as_described(program: Client, body: Any, status: int) -> None:
    answer = program.post(API, json.dumps(body), content_type="application/json")
    assert answer.status_code == status
    assert_as_described(API, "post", answer)


@pytest.mark.parametrize("state", ["queued", "review", "writing", "ready", "ready_with_gaps", "failed"])
def test_real_roadmaps_are_as_described(program: Client, anna: User, state: str) -> None:
    roadmap = roadmap_of(anna, state, lessons=2, gaps=1, error="It broke." if state == "failed" else "")
    assert_as_described(f"{API}/{{id}}", "get", program.get(f"{API}/{roadmap.pk}"))
    assert_as_described(f"{API}/{{id}}/export.md", "get", program.get(f"{API}/{roadmap.pk}/export.md"))
    for action in ("cancel", "retry"):
        assert_as_described(f"{API}/{{id}}/{action}", "post", program.post(f"{API}/{roadmap.pk}/{action}"))
    assert Roadmap.objects.get().state


def test_real_refusals_are_as_described(program: Client, client: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "review", lessons=0)
    path, description = f"{API}/{roadmap.pk}/review", f"{API}/{{id}}/review"
    for sender, content, content_type, status in (
        (client, b"{}", "application/json", 401),
        (program, b"x", "application/json", 400),
        (program, b"x", "text/plain", 415),
        (program, b" " * 70_000, "application/json", 413),
        (program, b'{"decision": "revise"}', "application/json", 422),
        (program, b'{"decision": "approve"}', "application/json", 202),
        (program, b'{"decision": "approve"}', "application/json", 409),
    ):
        answer = sender.generic("POST", path, content, content_type)
        assert answer.status_code == status
        assert_as_described(description, "post", answer)


@pytest.mark.django_db
def test_anybody_may_read_it(client: Client) -> None:
    answer = client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json() == DESCRIPTION


def test_it_names_the_limits_that_the_fields_have() -> None:
    told = DESCRIPTION["components"]["schemas"]["Brief"]["properties"]
    for name in ("hours_per_week", "weeks"):
        limits = {type(one).__name__: one.limit_value for one in Roadmap._meta.get_field(name).validators}
        assert told[name]["minimum"] == limits["MinValueValidator"]
        assert told[name]["maximum"] == min(
            one.limit_value
            for one in Roadmap._meta.get_field(name).validators
            if type(one).__name__ == "MaxValueValidator"
        )
    for name in ("goal", "level", "language"):
        assert told[name]["maxLength"] == Roadmap._meta.get_field(name).max_length
