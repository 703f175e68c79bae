"""The admin's page of connections."""

import contextlib
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.conftest import Database
from tests.service import Service, manage

PAGE = "/admin/healthcheck/connection/"


@pytest.fixture
def staff_client(web: Service, staff: tuple[str, str]) -> Iterator[httpx.Client]:
    with signed_in(web, *staff) as client:
        yield client


@contextlib.contextmanager
def signed_in(service: Service, name: str, password: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        form = client.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
        assert client.post("/admin/login/", data=fields).status_code == 302
        yield client


def cells(page: str, label: str) -> list[str]:
    """The cells of the first row with this heading."""
    row = re.search(rf'<th scope="row">{label}</th>(.*?)</tr>', page, re.DOTALL)
    assert row
    return [cell.strip() for cell in re.findall(r"<td>(.*?)</td>", row[1], re.DOTALL)]


def test_it_shows_the_plan_beside_what_is_open(staff_client: httpx.Client):
    answer = staff_client.get(PAGE)
    assert answer.status_code == 200
    each, processes, planned, opened, *_ = cells(answer.text, "orm")
    assert (each, processes, planned) == ("8–24", "1", "24")
    assert 1 <= int(opened) <= 24
    assert cells(answer.text, "watch")[:4] == ["1", "1", "1", "1"]
    assert cells(answer.text, "Steady") == ["43", "45", "197", "152 to spare"]
    assert "Nothing to find fault with." in answer.text


def test_nothing_on_it_is_inline(staff_client: httpx.Client):
    answer = staff_client.get(PAGE)
    content = answer.text[answer.text.index('id="content-main"') :]
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src)|<style|\sstyle=|\son\w+=", content)


def test_the_index_leads_to_it(staff_client: httpx.Client):
    assert f'href="{PAGE}"' in staff_client.get("/admin/").text


def test_there_is_nothing_to_change(staff_client: httpx.Client):
    paths = ["add/", "1/change/", "1/delete/", "1/history/"]
    assert {path: staff_client.get(PAGE + path).status_code for path in paths} == dict.fromkeys(paths, 404)


def test_findings_are_shown_with_their_hints(
    start: Callable[..., Service], database: Database, staff: tuple[str, str]
):
    with signed_in(start("web", database, DB_CONNECTIONS_WARN="1"), *staff) as client:
        page = client.get(PAGE).text
    assert "healthcheck.W004" in page
    assert "end what nobody needs" in page


def test_staff_without_the_permission_do_not_see_it(web: Service, database: Database):
    make = (
        "from django.contrib.auth.models import User;"
        "User.objects.create_user('newcomer', password='a-long-passphrase', is_staff=True)"
    )
    assert manage(database.url, "shell", "-c", make).returncode == 0
    with signed_in(web, "newcomer", "a-long-passphrase") as client:
        assert client.get(PAGE).status_code == 403
        assert PAGE not in client.get("/admin/").text


def test_visitors_are_sent_to_sign_in(web: Service):
    answer = web.get(PAGE)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/admin/login/")
