"""A visitor joins: with and without JavaScript, by keyboard alone, on a small phone, in two languages."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.browser.conftest import Visit
from tests.conftest import Database
from tests.service import Service, query

PATHS = ["/", "/thanks", "/nowhere"]


def entries(database: Database) -> list[tuple[str, ...]]:
    return query(database.url, "SELECT email, normalised, source, language FROM waitlist_entry ORDER BY id")


def test_with_javascript_the_answer_appears_in_place(visit: Callable[..., Visit], database: Database) -> None:
    visitor = visit("/?source=podcast")
    page = visitor.page
    page.get_by_label("E-mail address").fill("Anna@Example.com")
    page.get_by_role("button", name="Join the waitlist").click()
    page.get_by_role("status").get_by_text("You are on the list").wait_for()
    assert page.url.endswith("/?source=podcast")
    assert page.get_by_role("button", name="Join the waitlist").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    assert entries(database) == [("Anna@Example.com", "anna@example.com", "podcast", "en")]
    assert visitor.complaints == []


def test_without_javascript_the_answer_is_a_page(visit: Callable[..., Visit], database: Database) -> None:
    visitor = visit("/", java_script_enabled=False)
    page = visitor.page
    page.get_by_label("E-mail address").fill("Anna@Example.com")
    page.get_by_role("button", name="Join the waitlist").click()
    page.wait_for_url("**/thanks")
    assert page.get_by_role("heading", level=1).inner_text() == "You are on the list"
    assert entries(database) == [("Anna@Example.com", "anna@example.com", "", "en")]
    assert visitor.complaints == []


@pytest.mark.parametrize("java_script", [True, False])
def test_a_bad_address_is_kept_marked_and_explained(
    visit: Callable[..., Visit], database: Database, java_script: bool
) -> None:
    page = visit("/", java_script_enabled=java_script).page
    address = page.get_by_label("E-mail address")
    address.fill("anna@example")
    page.get_by_role("button", name="Join the waitlist").click()
    page.get_by_role("alert").get_by_text("a name with a dot in it").wait_for()
    assert address.input_value() == "anna@example"
    assert address.get_attribute("aria-invalid") == "true"
    described_by = (address.get_attribute("aria-describedby") or "").split()
    assert "a name with a dot in it" in page.locator(f"#{described_by[0]}").inner_text()
    assert page.evaluate("document.activeElement.id") == "email"
    assert entries(database) == []
    address.fill("anna@example.com")
    page.keyboard.press("Enter")
    page.get_by_text("You are on the list").first.wait_for()
    assert len(entries(database)) == 1


def test_a_server_that_cannot_be_reached_is_said_so(visit: Callable[..., Visit], web: Service) -> None:
    page = visit("/").page
    page.get_by_label("E-mail address").fill("anna@example.com")
    web.stop()
    page.get_by_role("button", name="Join the waitlist").click()
    page.get_by_role("alert").get_by_text("We could not be reached").wait_for()
    button = page.get_by_role("button", name="Join the waitlist")
    assert button.get_attribute("aria-disabled") is None
    assert page.get_by_label("E-mail address").get_attribute("aria-invalid") is None


@pytest.mark.parametrize("java_script", [True, False])
def test_the_keyboard_is_enough_and_never_meets_the_trap(
    visit: Callable[..., Visit], database: Database, java_script: bool
) -> None:
    page = visit("/", java_script_enabled=java_script).page
    met = []
    for _ in range(6):
        page.keyboard.press("Tab")
        met.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert met[:5] == ["Skip to the content", "Roadmap", "Sign in", "email", "Join the waitlist"]
    assert "website" not in met
    page.get_by_label("E-mail address").focus()
    page.keyboard.type("anna@example.com")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "submit"
    page.keyboard.press("Space")
    page.get_by_text("You are on the list").first.wait_for()
    assert len(entries(database)) == 1


def test_the_trap_is_out_of_sight_and_of_the_accessibility_tree(visit: Callable[..., Visit]) -> None:
    page = visit("/").page
    trap = page.locator("#website")
    box = trap.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] < 0
    assert page.get_by_role("textbox").count() == 1
    assert page.evaluate("getComputedStyle(document.querySelector('#website')).display") != "none"


@pytest.mark.parametrize("java_script", [True, False])
def test_what_fills_the_trap_learns_nothing_and_is_not_stored(
    visit: Callable[..., Visit], database: Database, java_script: bool
) -> None:
    page = visit("/", java_script_enabled=java_script).page
    page.get_by_label("E-mail address").fill("robot@example.com")
    page.locator("#website").fill("https://example.com", force=True)
    page.keyboard.press("Enter")
    page.wait_for_url("**/thanks")
    assert entries(database) == []


@pytest.mark.parametrize("java_script", [True, False])
def test_an_international_address_joins(
    visit: Callable[..., Visit], database: Database, java_script: bool
) -> None:
    page = visit("/", java_script_enabled=java_script, locale="de-DE").page
    assert page.locator("html").get_attribute("lang") == "de"
    page.get_by_label("E-Mail-Adresse").fill("Zoe@münchen.example")
    page.get_by_role("button", name="Auf die Warteliste").click()
    page.get_by_text("Sie stehen auf der Liste").first.wait_for()
    (found,) = entries(database)
    assert found[1:] == ("zoe@xn--mnchen-3ya.example", "", "de")


@pytest.mark.parametrize("locale", ["en-GB", "de-DE"])
def test_a_small_phone_shows_it_all_without_scrolling_sideways(
    visit: Callable[..., Visit], locale: str
) -> None:
    page = visit("/", viewport={"width": 320, "height": 640}, locale=locale, java_script_enabled=False).page
    wider = "[...document.querySelectorAll('main *, footer *')].filter(e => e.getBoundingClientRect().right > 320)"
    for path in PATHS:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert page.evaluate(f"{wider}.length") == 0


def test_every_page_has_one_heading_a_language_a_title_and_names_for_its_fields(
    visit: Callable[..., Visit],
) -> None:
    page = visit("/").page
    unnamed = (
        "[...document.querySelectorAll('input:not([type=hidden])')].filter(field => !field.labels.length)"
    )
    for path in PATHS:
        page.goto(path)
        assert page.locator("h1").count() == 1
        assert page.locator("main").count() == 1
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title().strip().endswith("· Roadmap")
        assert page.evaluate(f"{unnamed}.length") == 0
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].map(heading => +heading.tagName[1])"
        )
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.evaluate("document.querySelectorAll('[style], style, script:not([src])').length") == 0
