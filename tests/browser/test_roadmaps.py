"""The whole way in a browser: sign in, new, watch, review with a change, approve, read, export."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_contrast import LARGE_TEXT, TEXT, TEXTS, contrast
from tests.conftest import Database
from tests.service import Service, manage, query

pytestmark = pytest.mark.long

PASSWORD = "wander-weg-7"
# As `roadmap.runs.events` records and announces it, for a run that a test plays itself.
RECORD = """
    WITH step AS (
        UPDATE roadmap_roadmap SET last_event = last_event + 1 WHERE id = %s RETURNING id, last_event
    ), event AS (
        INSERT INTO roadmap_event (roadmap_id, number, kind, data)
        SELECT id, last_event, %s, %s::jsonb FROM step RETURNING roadmap_id, number
    )
    SELECT pg_notify('roadmap_events', roadmap_id || ' ' || number) FROM event
"""
UNNAMED = """
    [...document.querySelectorAll("main :is(input:not([type=hidden]), textarea)")]
        .filter((field) => !field.labels.length).length
"""


@pytest.fixture
def worker(start: Callable[..., Service], database: Database) -> Service:
    return start("worker", database)


@pytest.fixture
def anna(database: Database) -> str:
    made = manage(
        database.url,
        "createsuperuser",
        "--noinput",
        "--username=anna",
        "--email=anna@example.com",
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    assert made.returncode == 0, made.stderr
    return "anna"


def sign_in(page: Page) -> None:
    page.locator("[name=username]").fill("anna")
    page.locator("[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)


def draft(page: Page, goal: str = "Running PostgreSQL") -> None:
    page.goto("/roadmaps/new/")
    page.get_by_label("What do you want to learn?").fill(goal)
    page.get_by_role("button", name="Draft my roadmap").click()
    page.get_by_role("button", name="Approve and write the lessons").wait_for(timeout=30_000)


@pytest.mark.usefixtures("worker", "anna")
@pytest.mark.parametrize("java_script", [True, False])
def test_from_signing_in_to_the_export(
    visit: Callable[..., Visit], java_script: bool, tmp_path: Path
) -> None:
    visitor = visit("/", java_script_enabled=java_script, accept_downloads=True)
    page = visitor.page
    page.get_by_role("link", name="Sign in").click()
    sign_in(page)
    page.get_by_role("link", name="Make your first roadmap").click()
    draft(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Running PostgreSQL"
    assert page.get_by_role("img", name="What builds on what").count() == 1
    assert "Replication" in page.locator(".outline").inner_text()

    page.get_by_label("What should change?").fill("Leave out replication.")
    page.get_by_role("button", name="Change the draft").click()
    page.get_by_role("button", name="Approve and write the lessons").wait_for(timeout=30_000)
    assert page.locator(".lesson-title", has_text="Replication").count() == 0

    page.get_by_role("button", name="Approve and write the lessons").click()
    page.get_by_role("link", name="Begin with").wait_for(timeout=30_000)
    page.get_by_role("link", name="Begin with").click()
    first = page.get_by_role("heading", level=1).inner_text()
    assert len(page.locator(".prose").inner_text()) > 500
    page.get_by_role("button", name="Learned, on to the next").click()
    page.wait_for_url(lambda url: url.endswith("/2/"))
    page.get_by_role("link", name="Running PostgreSQL").click()
    assert page.get_by_text("1 of 9 learned").count() == 1

    with page.expect_download() as download:
        page.get_by_role("link", name="Export as Markdown").click()
    download.value.save_as(tmp_path / "roadmap.md")
    text = (tmp_path / "roadmap.md").read_text()
    assert text.startswith("# Running PostgreSQL\n")
    assert f"### {first}\n" in text

    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete it for good").click()
    page.get_by_text("The roadmap is deleted.").wait_for()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/")
    assert visitor.complaints == []


@pytest.mark.usefixtures("anna")
def test_steps_and_lessons_appear_on_the_open_page(visit: Callable[..., Visit], database: Database) -> None:
    visitor = visit("/accounts/login/")
    page = visitor.page
    sign_in(page)
    page.goto("/roadmaps/new/")
    page.get_by_label("What do you want to learn?").fill("Running PostgreSQL")
    page.get_by_role("button", name="Draft my roadmap").click()
    page.locator("#steps").wait_for()
    ((roadmap_id,),) = query(database.url, "SELECT id FROM roadmap_roadmap")

    def happens(kind: str, **data: object) -> None:
        query(database.url, RECORD, roadmap_id, kind, json.dumps(data))

    def become(state: str) -> None:
        query(database.url, "UPDATE roadmap_roadmap SET state = %s RETURNING 1", state)
        happens("status", status=state)

    become("drafting")
    expect(page.locator("#live")).to_have_attribute("data-state", "drafting")
    page.evaluate("document.body.dataset.same = 'yes'")
    happens("status", status="drafting", step="understand")
    expect(page.locator("[data-step=understand]")).to_have_class("stop stop-done")
    expect(page.locator("[data-step=outline]")).to_have_class("stop stop-now")
    expect(page.locator("#progress")).to_have_js_property("value", 1)

    query(
        database.url,
        "WITH stage AS (INSERT INTO roadmap_stage (roadmap_id, position, title, summary)"
        " SELECT %s, n, 'Stage ' || n, '' FROM generate_series(1, 2) AS n RETURNING id, position)"
        " INSERT INTO roadmap_concept"
        " (roadmap_id, stage_id, position, key, title, summary, hours, lesson, resources, gap)"
        " SELECT %s, id, position, 'c' || position, 'Concept ' || position, '', 1, '', '[]', '' FROM stage RETURNING 1",
        roadmap_id,
        roadmap_id,
    )
    become("writing")
    expect(page.locator("#left")).to_have_text("2 lessons left")
    assert page.evaluate("document.body.dataset.same") is None  # another state is another page
    page.evaluate("document.body.dataset.same = 'yes'")
    query(database.url, "UPDATE roadmap_concept SET lesson = 'It is short.' WHERE key = 'c1' RETURNING 1")
    happens("lesson", concept="c1", title="Concept 1", done=1, of=2)
    expect(page.locator("#left")).to_have_text("1 lesson left")
    expect(page.get_by_role("link", name="Concept 1")).to_be_visible()
    expect(page.locator(".stop").first).to_have_class("stop stop-done")
    happens("gap", concept="c2", title="Concept 2", done=2, of=2, reason="It broke.")
    expect(page.get_by_text("could not be written")).to_be_visible()
    expect(page.locator("#progress")).to_have_js_property("value", 2)
    assert page.evaluate("document.body.dataset.same") == "yes"
    page.get_by_role("link", name="Concept 1").click()
    expect(page.locator(".prose")).to_have_text("It is short.")
    assert visitor.complaints == []


@pytest.mark.usefixtures("anna")
def test_a_page_whose_server_was_away_goes_on_by_itself(
    visit: Callable[..., Visit], database: Database, web: Service
) -> None:
    page = visit("/accounts/login/").page
    sign_in(page)
    page.goto("/roadmaps/new/")
    page.get_by_label("What do you want to learn?").fill("Django")
    page.get_by_role("button", name="Draft my roadmap").click()
    page.locator("#steps").wait_for()
    web.stop()
    expect(page.locator("#lost")).to_be_visible(timeout=20_000)
    ((roadmap_id,),) = query(database.url, "SELECT id FROM roadmap_roadmap")
    query(database.url, "UPDATE roadmap_roadmap SET state = 'drafting' RETURNING 1")
    query(database.url, RECORD, roadmap_id, "status", json.dumps({"status": "drafting"}))
    web.start()
    expect(page.locator("#live")).to_have_attribute("data-state", "drafting", timeout=30_000)
    expect(page.locator("#lost")).to_be_hidden()


@pytest.mark.usefixtures("anna")
def test_a_page_whose_stream_was_refused_asks_again(
    visit: Callable[..., Visit], database: Database, web: Service
) -> None:
    page = visit("/accounts/login/").page
    sign_in(page)
    page.goto("/roadmaps/new/")
    page.get_by_label("What do you want to learn?").fill("Django")
    page.get_by_role("button", name="Draft my roadmap").click()
    page.locator("#steps").wait_for()
    page.evaluate("document.body.dataset.same = 'yes'")
    ((roadmap_id,),) = query(database.url, "SELECT id FROM roadmap_roadmap")
    web.stop()
    with psycopg.connect(database.superuser_url) as holder:
        holder.execute("LOCK TABLE roadmap_event")
        web.start()
        with page.expect_response(lambda answer: answer.status == 503, timeout=20_000):
            pass
        expect(page.locator("#lost")).to_be_visible()
    query(database.url, RECORD, roadmap_id, "status", json.dumps({"status": "queued", "step": "understand"}))
    expect(page.locator("[data-step=understand]")).to_have_class("stop stop-done", timeout=15_000)
    expect(page.locator("#lost")).to_be_hidden()
    assert page.evaluate("document.body.dataset.same") == "yes"


@pytest.mark.usefixtures("worker", "anna")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_everybody(visit: Callable[..., Visit], scheme: str) -> None:
    visitor = visit("/accounts/login/", color_scheme=scheme, viewport={"width": 320, "height": 640})
    page = visitor.page
    texts = []

    def look(path: str = "") -> None:
        if path:
            page.goto(path)
        texts.extend(page.evaluate(TEXTS))
        assert page.evaluate("document.documentElement.scrollWidth") == 320, page.url
        assert page.locator("h1").count() == 1
        assert page.locator("[style], style, script:not([src])").count() == 0
        assert page.evaluate(UNNAMED) == 0
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].map(heading => +heading.tagName[1])"
        )
        assert all(after - before <= 1 for before, after in pairwise(levels)), page.url

    look()
    look("/accounts/password/reset/")
    look("/accounts/password/reset/sent/")
    page.goto("/accounts/login/")
    sign_in(page)
    look()
    look("/accounts/")
    look("/accounts/password/")
    look("/roadmaps/new/")
    draft(page)
    itself = page.url
    look()
    page.get_by_role("button", name="Approve and write the lessons").click()
    page.get_by_role("link", name="Begin with").wait_for(timeout=30_000)
    look()
    look("/roadmaps/")
    look(f"{itself}1/")
    look(f"{itself}delete/")
    assert len(texts) > 200
    too_faint = {
        f"{text['text']}: {contrast(text['ink'], text['ground']):.2f}"
        for text in texts
        if contrast(text["ink"], text["ground"]) < (LARGE_TEXT if text["large"] else TEXT)
    }
    assert too_faint == set()
    assert visitor.complaints == []
