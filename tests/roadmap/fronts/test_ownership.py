"""Everything not public needs a login, and what is somebody else's does not exist."""

import uuid
from collections.abc import Callable

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver

from roadmap import urls
from roadmap.accounts import make_token
from roadmap.models import Concept, Roadmap
from tests.conftest import Database
from tests.roadmap.fronts.rows import roadmap_of
from tests.service import Service, manage, query

PUBLIC = {
    "login",
    "logout",
    "password_reset",
    "password_reset_done",
    "password_reset_confirm",
    "api_description",
}
OF_ONE = [
    pattern.name
    for pattern in urls.urlpatterns
    if isinstance(pattern, URLPattern) and "roadmap_id" in pattern.pattern.converters
]
READS = {"roadmap", "export_roadmap", "lesson", "api_roadmap", "api_export"}


def path_of(name: str, roadmap_id: object) -> str:
    pattern = next(one for one in urls.urlpatterns if isinstance(one, URLPattern) and one.name == name)
    given = {"roadmap_id": roadmap_id, "number": 1, "token_id": 1}
    return "/" + get_resolver().reverse(name, **{key: given[key] for key in pattern.pattern.converters})


def test_these_are_all_there_are() -> None:
    assert len(OF_ONE) == 13
    assert set(OF_ONE) >= READS


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name",
    sorted({one.name for one in urls.urlpatterns if isinstance(one, URLPattern) and one.name} - PUBLIC),
)
def test_nobody_gets_in_without_a_login(client: Client, name: str) -> None:
    path = path_of(name, uuid.uuid4())
    for answer in (client.get(path), client.post(path, {}, content_type="application/json")):
        if path.startswith("/api/"):
            assert answer.status_code in (401, 405)
        else:
            assert answer.status_code == 302
            back = answer["Location"].removeprefix("/accounts/login/?next=")
            assert client.get(back).status_code == 302, "it can be opened once one is signed in"
            assert path.startswith(back)


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("state", ["review", "ready_with_gaps"])
def test_somebody_elses_is_as_if_it_did_not_exist(anna: User, ben: User, name: str, state: str) -> None:
    theirs = roadmap_of(ben, state, lessons=2, gaps=1)
    client = Client()
    client.force_login(anna)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {make_token(anna, 'tests')}"
    body = {"decision": "approve", "feedback": ""}
    before = (Roadmap.objects.values().get(), list(Concept.objects.values()))

    def ask(path: str) -> tuple[int, bytes]:
        if name in READS:
            answer = client.get(path)
        elif path.startswith("/api/"):
            answer = client.post(path, body, content_type="application/json")
        else:
            answer = client.post(path, body)
        return answer.status_code, answer.content

    found = ask(path_of(name, theirs.pk))
    assert found[0] == 404
    assert found == ask(path_of(name, uuid.uuid4()))
    assert before == (Roadmap.objects.values().get(), list(Concept.objects.values()))


def test_a_stream_of_somebody_elses_does_not_exist_either(
    start: Callable[..., Service], database: Database
) -> None:
    web = start("web", database)
    tokens = {}
    for name in ("anna", "ben"):
        arguments = ["--noinput", f"--username={name}", f"--email={name}@example.com"]
        assert not manage(
            database.url, "createsuperuser", *arguments, DJANGO_SUPERUSER_PASSWORD="wander-weg-7"
        ).returncode
        secret = manage(database.url, "create_token", name).stdout.splitlines()[-1]
        tokens[name] = {"Authorization": f"Bearer {secret}"}
    made = httpx.post(f"{web.url}/api/v1/roadmaps", json={"goal": "Django"}, headers=tokens["anna"])
    assert made.status_code == 201
    events = made.json()["links"]["events"]
    elsewhere = f"/api/v1/roadmaps/{uuid.uuid4()}/events"
    assert web.get(events, headers=tokens["ben"]).content == web.get(elsewhere, headers=tokens["ben"]).content
    statuses = [
        web.get(path, headers=headers).status_code
        for path, headers in (
            (events, tokens["ben"]),
            (elsewhere, tokens["ben"]),
            (events, {}),
            (events, {"Authorization": "Bearer wrong"}),
        )
    ]
    assert statuses == [404, 404, 401, 401]
    with httpx.stream("GET", web.url + events, headers=tokens["anna"], timeout=10) as stream:
        assert stream.status_code == 200
        assert next(line for line in stream.iter_lines() if line.startswith("id:")) == "id: 1"
    assert query(database.url, "SELECT count(*) FROM roadmap_roadmap") == [(1,)]
