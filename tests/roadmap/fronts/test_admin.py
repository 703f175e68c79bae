"""What staff see of roadmaps, runs, jobs and tokens, and what they can do with them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from roadmap.accounts import make_token
from roadmap.models import Roadmap, Token
from roadmap.runs import door, events
from tests.conftest import Database
from tests.people import sign_in
from tests.roadmap.fronts.rows import roadmap_of
from tests.service import Service, connections_by_name, manage, query, wait_until

LIST = "/admin/roadmap/roadmap/"
JOBS = "/admin/procrastinate/procrastinatejob/"
TOKENS = "/admin/roadmap/token/"


def listed(client: Client, **filters: Any) -> list[Roadmap]:
    answer = client.get(f"{LIST}?{urlencode(filters)}")
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


def act(client: Client, action: str, *roadmaps: Roadmap, language: str = "en") -> str:
    form = {"action": action, "_selected_action": [str(one.pk) for one in roadmaps]}
    answer = client.post(LIST, form, follow=True, headers={"Accept-Language": language})
    assert answer.status_code == 200
    return answer.content.decode()


def test_roadmaps_are_found_by_state_owner_and_age(admin_client: Client, anna: User, ben: User) -> None:
    old, new, his = roadmap_of(anna, "failed"), roadmap_of(anna, "ready"), roadmap_of(ben, "failed")
    Roadmap.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=8))
    assert set(listed(admin_client, state__exact="failed")) == {old, his}
    assert set(listed(admin_client, owner__id__exact=anna.pk)) == {old, new}
    assert listed(admin_client, age="older") == [old]
    assert set(listed(admin_client, age="day")) == {new, his}
    assert set(listed(admin_client, q="ben")) == {his}
    assert listed(admin_client, q=str(new.pk)) == [new]


def test_nothing_of_a_roadmap_is_edited_by_hand(admin_client: Client, anna: User) -> None:
    roadmap = roadmap_of(anna)
    page = admin_client.get(f"{LIST}{roadmap.pk}/change/")
    assert page.status_code == 200
    assert b'name="_save"' not in page.content
    assert admin_client.post(f"{LIST}{roadmap.pk}/change/", {"state": "failed"}).status_code == 403
    assert admin_client.get(f"{LIST}add/").status_code == 403


def test_retry_and_cancel_go_through_the_door(admin_client: Client, anna: User) -> None:
    failed, ready, waiting = (roadmap_of(anna, state) for state in ("failed", "ready", "review"))
    page = act(admin_client, "retry", failed, ready)
    assert "1 roadmap is on its way." in page
    assert "It is ready, which does not allow this." in page
    failed.refresh_from_db()
    assert (failed.state, failed.generation) == ("drafting", 1)
    assert ProcrastinateJob.objects.filter(lock=str(failed.pk), task_name="run").exists()
    act(admin_client, "cancel", waiting)
    waiting.refresh_from_db()
    assert waiting.state == "cancelled"
    assert waiting.events.get(number=waiting.last_event).data == {"status": "cancelled"}


def test_a_refusal_is_told_in_the_language_of_the_page(admin_client: Client, anna: User) -> None:
    page = act(admin_client, "cancel", roadmap_of(anna, "ready"), language="de")
    assert "Sein Zustand ist „fertig“, der das nicht erlaubt." in page


def test_deleting_goes_through_the_door(admin_client: Client, anna: User) -> None:
    roadmap = door.start(anna, goal="Django")
    admin_client.post(f"{LIST}{roadmap.pk}/delete/", {"post": "yes"})
    assert not Roadmap.objects.exists()
    assert set(ProcrastinateJob.objects.filter(task_name="run").values_list("status", flat=True)) == {
        "cancelled"
    }


def test_a_run_shows_its_events_errors_and_jobs(admin_client: Client, anna: User) -> None:
    roadmap = door.start(anna, goal="Django")
    events.record(roadmap.pk, "status", {"status": "failed", "error": "The model was away."})
    Roadmap.objects.filter(pk=roadmap.pk).update(state="failed", error="The model was away.")
    page = admin_client.get(f"{LIST}{roadmap.pk}/run/").content.decode()
    assert page.count("The model was away.") == 2
    assert "queued" in page
    assert f"{JOBS}{ProcrastinateJob.objects.get().pk}/change/" in page
    assert "The checkpointer pool is not open in this process." in page


def test_jobs_are_looked_at_and_no_more(admin_client: Client, anna: User) -> None:
    door.start(anna, goal="Django")
    job = ProcrastinateJob.objects.get()
    page = admin_client.get(f"{JOBS}{job.pk}/change/")
    assert page.status_code == 200
    assert b"style=" not in page.content
    assert b'name="action"' not in admin_client.get(JOBS).content
    statuses = [
        admin_client.post(f"{JOBS}{job.pk}/{what}/", {"post": "yes"}).status_code
        for what in ("change", "delete")
    ]
    assert statuses == [403, 403]
    assert admin_client.get(f"{JOBS}add/").status_code == 403


def test_a_token_is_revoked_and_never_seen(admin_client: Client, anna: User) -> None:
    make_token(anna, "laptop")
    token = Token.objects.get()
    for path in (TOKENS, f"{TOKENS}{token.pk}/change/"):
        page = admin_client.get(path)
        assert page.status_code == 200
        assert "laptop" in page.content.decode()
        assert token.digest not in page.content.decode()
    assert admin_client.get(f"{TOKENS}add/").status_code == 403
    admin_client.post(f"{TOKENS}{token.pk}/delete/", {"post": "yes"})
    assert not Token.objects.exists()


def test_staff_need_the_permission_to_see_and_to_act(client: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "failed")
    colleague = User.objects.create_user("colleague", is_staff=True)
    client.force_login(colleague)
    run = f"{LIST}{roadmap.pk}/run/"
    assert [client.get(path).status_code for path in (LIST, run, JOBS, TOKENS)] == [403] * 4
    colleague.user_permissions.add(Permission.objects.get(codename="view_roadmap"))
    assert client.get(run).status_code == 200
    assert b'value="retry"' not in client.get(LIST).content
    act(client, "retry", roadmap)
    roadmap.refresh_from_db()
    assert roadmap.state == "failed"


def test_checkpoints_are_read_step_by_step_through_the_webs_own_pool(
    start: Callable[..., Service], database: Database
) -> None:
    web = start("web", database)
    start("worker", database)
    cookie = {"Cookie": sign_in(web, database)}
    name = query(database.url, "SELECT username FROM auth_user")[0][0]
    secret = manage(database.url, "create_token", name).stdout.splitlines()[-1]
    headers = {"Authorization": f"Bearer {secret}"}
    made = httpx.post(f"{web.url}/api/v1/roadmaps", json={"goal": "Django"}, headers=headers).json()
    itself = made["links"]["self"]
    wait_until(lambda: web.get(itself, headers=headers).json()["status"] == "review", 30, "the draft")

    before = connections_by_name(database.superuser_url, database.name)
    assert "roadmap_agent/web/checkpointer" not in before
    page = web.get(f"{LIST}{made['id']}/run/", headers=cookie)
    assert page.status_code == 200
    steps = re.findall(r"<strong>Step (-?\d+)</strong>", page.text)
    assert steps == [str(number) for number in range(-1, len(steps) - 1)]
    assert len(steps) >= 4  # the start, and a checkpoint after each node
    assert "__interrupt__" in page.text
    assert "dj-models" in page.text
    after = connections_by_name(database.superuser_url, database.name)
    assert after["roadmap_agent/web/checkpointer"] == 1
