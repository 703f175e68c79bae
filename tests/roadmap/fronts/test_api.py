"""The API's answers: what it takes, and every way in which it says no."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from roadmap.models import Roadmap
from tests.roadmap.fronts.rows import roadmap_of

API = "/api/v1/roadmaps"
NOBODYS = "00000000-0000-4000-8000-000000000000"
BRIEF = {"goal": "running PostgreSQL"}


def post(client: Client, path: str, body: Any, content_type: str = "application/json") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", path, content, content_type)


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = answer.json()
    assert content["status"] == status
    assert content["type"] == "about:blank"
    assert content["title"]
    return content


def test_a_roadmap_is_begun_and_its_links_lead_to_it(program: Client, anna: User) -> None:
    answer = post(program, API, {**BRIEF, "level": None, "hours_per_week": 5, "weeks": 10})
    assert answer.status_code == 201
    made = answer.json()
    row = Roadmap.objects.get()
    assert (made["id"], made["status"], row.owner) == (str(row.pk), "queued", anna)
    assert (row.hours_per_week, row.weeks, row.level) == (5, 10, "")
    itself = f"{API}/{row.pk}"
    assert answer["Location"] == itself
    assert made["links"] == {
        "self": itself,
        "events": f"{itself}/events",
        "review": f"{itself}/review",
        "cancel": f"{itself}/cancel",
        "retry": f"{itself}/retry",
        "export": f"{itself}/export.md",
    }
    state = program.get(itself).json()
    assert state == {**made, "error": None, "outline": None, "lessons": []}


def test_the_state_has_the_outline_and_what_is_written(program: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "ready_with_gaps", lessons=2, gaps=1)
    content = program.get(f"{API}/{roadmap.pk}").json()
    assert content["outline"]["hours"] == 10
    concepts = [concept for stage in content["outline"]["stages"] for concept in stage["concepts"]]
    assert [concept["key"] for concept in concepts] == ["tables", "queries", "indexes", "plans"]
    assert set(concepts[3]["prerequisites"]) == {"tables", "queries", "indexes"}
    assert [(one["concept"], one["markdown"] is None, one["gap"]) for one in content["lessons"]] == [
        ("tables", False, None),
        ("queries", False, None),
        ("indexes", True, "The model gave up."),
    ]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"goal"}),
        ({"goal": None}, {"goal"}),
        ({"goal": "  "}, {"goal"}),
        ({"goal": 5}, {"goal"}),
        ({"goal": "x" * 501}, {"goal"}),
        ({"goal": "a\x00b"}, {"goal"}),
        ({"goal": "a\ud800b"}, {"goal"}),
        ({**BRIEF, "hours_per_week": "5"}, {"hours_per_week"}),
        ({**BRIEF, "hours_per_week": True}, {"hours_per_week"}),
        ({**BRIEF, "hours_per_week": 0, "weeks": 521}, {"hours_per_week", "weeks"}),
        ({**BRIEF, "weeks": 10**30}, {"weeks"}),
        ({**BRIEF, "level": ["none"]}, {"level"}),
        ({**BRIEF, "language": "x" * 36}, {"language"}),
    ],
)
def test_a_brief_that_cannot_be_taken_is_told_by_field(
    program: Client, body: dict[str, Any], fields: set[str]
) -> None:
    content = assert_problem(post(program, API, body), 422)
    assert content["errors"].keys() == fields
    assert all(texts and all(texts) for texts in content["errors"].values())
    assert not Roadmap.objects.exists()


def test_a_goal_that_the_catalogue_does_not_know_gets_the_nearest_topics(program: Client) -> None:
    content = assert_problem(post(program, API, {"goal": "keeping bees"}), 422)
    assert len(content["nearest"]) >= 3
    assert content["nearest"][0] in content["errors"]["goal"][0]


@pytest.mark.parametrize("path", [API, f"{API}/{NOBODYS}/review"])
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff{}", "application/json", 400),
        (b'{"goal": 1, "goal": 2}', "application/json", 400),
        (b"[" * 60_000, "application/json", 400),
        (b"goal=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b" " * (64 * 1024 + 1), "application/json", 413),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    program: Client, path: str, body: bytes, content_type: str, status: int
) -> None:
    assert_problem(post(program, path, body, content_type), status)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", API, "POST"),
        ("PUT", f"{API}/{{}}", "GET, HEAD"),
        ("POST", f"{API}/{{}}", "GET, HEAD"),
        ("GET", f"{API}/{{}}/review", "POST"),
        ("GET", f"{API}/{{}}/cancel", "POST"),
        ("DELETE", f"{API}/{{}}/retry", "POST"),
        ("POST", f"{API}/{{}}/export.md", "GET, HEAD"),
        ("POST", "/api/v1/openapi.json", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_ones_there_are(
    program: Client, anna: User, method: str, path: str, allow: str
) -> None:
    answer = program.generic(method, path.format(roadmap_of(anna).pk))
    assert_problem(answer, 405)
    assert answer["Allow"] == allow


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing", f"{API}/not-an-id", f"{API}/{NOBODYS}"])
def test_what_is_not_there_is_a_problem_document(program: Client, path: str) -> None:
    assert_problem(program.get(path), 404)


@pytest.mark.django_db
@pytest.mark.parametrize("path", [API, f"{API}/{NOBODYS}/review"])
def test_who_has_no_token_is_told_that_it_takes_one(client: Client, path: str) -> None:
    answer = post(client, path, BRIEF)
    assert_problem(answer, 401)
    assert answer["WWW-Authenticate"] == 'Bearer realm="roadmap"'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"decision": "approve"}, 202),
        ({"decision": "revise", "feedback": "shorter"}, 202),
        ({"decision": "revise"}, 422),
        ({"decision": "revise", "feedback": " "}, 422),
        ({"decision": "revise", "feedback": "x" * 10_000}, 422),
        ({"decision": "revise", "feedback": 7}, 422),
        ({"decision": "maybe"}, 422),
        ({"decision": ["approve"]}, 422),
        ({}, 422),
    ],
)
def test_a_review_is_judged(program: Client, anna: User, body: dict[str, Any], status: int) -> None:
    path = f"{API}/{roadmap_of(anna, 'review', lessons=0).pk}/review"
    answer = post(program, path, body)
    assert answer.status_code == status
    if status == 202:
        assert answer.json()["links"]["review"] == path
        assert Roadmap.objects.get().state == {"approve": "writing", "revise": "drafting"}[body["decision"]]
        assert_problem(post(program, path, body), 409)
    else:
        assert assert_problem(answer, 422)["errors"]
        assert Roadmap.objects.get().state == "review"


@pytest.mark.parametrize(
    ("action", "state", "status"),
    [
        ("cancel", "queued", 202),
        ("cancel", "writing", 202),
        ("cancel", "review", 202),
        ("cancel", "ready", 409),
        ("cancel", "cancelled", 409),
        ("retry", "failed", 202),
        ("retry", "ready_with_gaps", 202),
        ("retry", "ready", 409),
        ("retry", "writing", 409),
    ],
)
def test_cancel_and_retry_ask_for_the_right_state(
    program: Client, anna: User, action: str, state: str, status: int
) -> None:
    roadmap = roadmap_of(anna, state, lessons=2, gaps=1)
    answer = program.post(f"{API}/{roadmap.pk}/{action}")
    assert answer.status_code == status
    roadmap.refresh_from_db()
    if status == 409:
        assert assert_problem(answer, 409)["state"] == roadmap.state == state
    else:
        assert roadmap.state != state


def test_who_has_as_many_as_they_may_is_told_when_to_come_back(program: Client) -> None:
    answers = [post(program, API, BRIEF) for _ in range(settings.ROADMAPS_AT_ONCE + 1)]
    assert [answer.status_code for answer in answers[:-1]] == [201] * settings.ROADMAPS_AT_ONCE
    assert str(settings.ROADMAPS_AT_ONCE) in assert_problem(answers[-1], 429)["detail"]
    assert int(answers[-1]["Retry-After"]) > 0


def test_the_export_is_the_whole_roadmap_as_one_document(program: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "ready_with_gaps", lessons=1, gaps=1)
    answer = program.get(f"{API}/{roadmap.pk}/export.md")
    assert answer["Content-Type"] == "text/markdown; charset=utf-8"
    text = answer.content.decode()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Running a database",
        "## First steps",
        "### Tables and types",
        "#### Why",
        "### How a query runs",
        "## Making it fast",
        "### Indexes",
        "### Reading a plan",
    ]
    assert "The model gave up." in text
    assert "[The manual](<https://www.postgresql.org/docs/>)" in text
    assert "javascript:" not in text
