"""Every error of the API is a problem document, as it comes over the wire."""

import asyncio
import json
from typing import NamedTuple

import httpx
import pytest

from roadmap.openapi import DESCRIPTION
from tests.client import Answer, Client, run
from tests.service import Service, manage

ROADMAPS = "/api/v1/roadmaps"
JSON = {"Content-Type": "application/json"}
GOAL = json.dumps({"goal": "Django"}).encode()
OVER_64_KIB = b" " * (64 * 1024 + 1)
OPERATIONS = sorted(
    (method.upper(), path)
    for path, item in DESCRIPTION["paths"].items()
    for method in {"get", "post"} & item.keys()
)


class Api(NamedTuple):
    """A server, somebody who has as many roadmaps at work as they may, and one that is cancelled."""

    url: str
    token: dict[str, str]
    queued: str
    cancelled: str

    def path(self, template: str) -> str:
        return template.format(id=self.queued, queued=self.queued, cancelled=self.cancelled)


@pytest.fixture(scope="module")
def api(module_web: Service) -> Api:
    url = module_web.database_url
    made = manage(
        url,
        "createsuperuser",
        "--noinput",
        "--username=anna",
        "--email=anna@example.com",
        DJANGO_SUPERUSER_PASSWORD="wander-weg-7",
    )
    assert made.returncode == 0, made.stderr
    secret = manage(url, "create_token", "anna").stdout.splitlines()[-1]
    token = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=module_web.url, headers=token) as program:
        cancelled = program.post(ROADMAPS, json={"goal": "Django"}).json()
        program.post(cancelled["links"]["cancel"]).raise_for_status()
        queued = [program.post(ROADMAPS, json={"goal": "Django"}).json() for _ in range(3)]
    return Api(module_web.url, token, queued[0]["id"], cancelled["id"])


def ask(api: Api, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    async def request() -> Answer:
        async with Client(api.url) as client:
            return await client.request(method, api.path(path), body, {**api.token, **JSON, **headers})

    return run(request())


def assert_is_problem(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    content = json.loads(answer.body)
    assert content["type"] == "about:blank"
    assert content["title"]
    assert content["status"] == status


@pytest.mark.parametrize(
    ("status", "method", "path", "body", "headers"),
    [
        (400, "POST", ROADMAPS, b"{", {}),
        (400, "POST", f"{ROADMAPS}/{{queued}}/review", b"[]", {}),
        (400, "GET", f"{ROADMAPS}/{{queued}}", b"", {"Host": "elsewhere.example"}),
        (400, "GET", f"{ROADMAPS}/{{queued}}/events", b"", {"Host": "elsewhere.example"}),
        (401, "POST", ROADMAPS, GOAL, {"Authorization": "Bearer roadmap_made_up"}),
        (401, "GET", f"{ROADMAPS}/{{queued}}/events", b"", {"Authorization": "Bearer roadmap_made_up"}),
        (403, "POST", "/api/v1/waitlist", b'{"email": "a@example.com"}', {"Sec-Fetch-Site": "cross-site"}),
        (404, "GET", "/api/v1/nothing", b"", {}),
        (404, "GET", f"{ROADMAPS}/7", b"", {}),
        (404, "GET", f"{ROADMAPS}/7/events", b"", {}),
        (404, "POST", f"{ROADMAPS}/00000000-0000-4000-8000-000000000000/retry", b"", {}),
        (409, "POST", f"{ROADMAPS}/{{cancelled}}/cancel", b"", {}),
        (409, "POST", f"{ROADMAPS}/{{queued}}/review", b'{"decision": "approve"}', {}),
        (415, "POST", ROADMAPS, GOAL, {"Content-Type": "text/plain"}),
        (422, "POST", ROADMAPS, b'{"goal": "bees"}', {}),
        (422, "POST", f"{ROADMAPS}/{{queued}}/review", b'{"decision": "perhaps"}', {}),
        (429, "POST", ROADMAPS, GOAL, {}),
    ],
)
def test_an_error_is_a_problem_document(
    api: Api, status: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = ask(api, method, path, body, **headers)
    assert_is_problem(answer, status)
    assert ("retry-after" in answer.headers) == (status == 429)
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert ("errors" in json.loads(answer.body)) == (status == 422)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_method_that_a_path_does_not_take_is_answered_with_those_that_it_takes(
    api: Api, method: str, path: str
) -> None:
    answer = ask(api, "DELETE", path)
    assert_is_problem(answer, 405)
    assert method in answer.headers["allow"].split(", ")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_body_over_64_kib_is_taken_nowhere(api: Api, method: str, path: str) -> None:
    assert_is_problem(ask(api, method, path, OVER_64_KIB), 413)


def test_a_body_that_does_not_come_is_waited_for_so_long(api: Api) -> None:
    async def promise(method: str, path: str) -> Answer:
        lines = {"Host": "localhost", "Content-Length": "10", **api.token, **JSON}
        head = f"{method} {api.path(path)} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
        async with Client(api.url) as client:
            return await client.send(head.encode() + b"\r\n")

    async def promise_all() -> list[Answer]:
        return await asyncio.gather(*(promise(*operation) for operation in OPERATIONS))

    for answer in run(promise_all()):
        assert_is_problem(answer, 408)
        assert 1.5 < answer.seconds < 6
