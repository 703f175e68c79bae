"""Staff in a browser: sign in, search, invite, export, add; under a policy that allows nothing inline."""

import csv
from collections.abc import Callable
from pathlib import Path

from tests.browser.conftest import Visit
from tests.conftest import Database
from tests.service import query


def sign_in(visitor: Visit, staff: tuple[str, str]) -> None:
    name, password = staff
    visitor.page.get_by_label("Username").fill(name)
    visitor.page.get_by_label("Password").fill(password)
    visitor.page.keyboard.press("Enter")
    visitor.page.get_by_role("link", name="Entries", exact=True).first.wait_for()


def test_staff_find_invite_and_export_who_joined(
    visit: Callable[..., Visit], database: Database, staff: tuple[str, str], tmp_path: Path
) -> None:
    joining = visit("/?source=podcast").page
    joining.get_by_label("E-mail address").fill("Zoe@münchen.example")
    joining.keyboard.press("Enter")
    joining.get_by_text("You are on the list").first.wait_for()
    query(
        database.url,
        "INSERT INTO waitlist_entry (email, normalised, source, language)"
        " SELECT n || '@example.com', n || '@example.com', '', 'en' FROM generate_series(1, 150) AS n RETURNING 1",
    )

    colleague = visit("/admin/")
    page = colleague.page
    sign_in(colleague, staff)
    page.get_by_role("link", name="Entries", exact=True).first.click()
    page.locator("#searchbar").fill("zoe@MÜNCHEN.example")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "q=zoe" in url)
    rows = page.locator("#result_list tbody tr")
    assert rows.count() == 1
    assert "podcast" in rows.inner_text()

    rows.get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option(label="Mark as invited")
    page.get_by_role("button", name="Run").click()
    page.get_by_text("1 person is marked as invited.").wait_for()

    page.goto("/admin/waitlist/entry/?source=podcast")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export this list as CSV").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    assert download.value.suggested_filename.startswith("waitlist-")
    (file,) = tmp_path.glob("*.csv")
    (row,) = csv.DictReader(file.read_text("utf-8-sig").splitlines())
    assert row["normalised"] == "zoe@xn--mnchen-3ya.example"
    assert row["invited_at"]
    assert colleague.complaints == []


def test_no_page_of_the_admin_breaks_the_content_security_policy(
    visit: Callable[..., Visit], database: Database, staff: tuple[str, str]
) -> None:
    colleague = visit("/admin/login/?next=/admin/")
    page = colleague.page
    sign_in(colleague, staff)
    page.goto("/admin/waitlist/entry/add/")
    page.get_by_label("E-mail address").fill("anna@example")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("After the @ we need a name with a dot in it").wait_for()
    page.get_by_label("E-mail address").fill("Anna@Example.com")
    page.get_by_role("button", name="Today").click()  # Django's own script
    page.get_by_role("button", name="Now").click()
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("anna@example.com", exact=True).wait_for()
    assert query(database.url, "SELECT normalised, invited_at IS NOT NULL FROM waitlist_entry") == [
        ("anna@example.com", True)
    ]
    page.get_by_role("link", name="History").click()
    page.get_by_role("link", name="Entries", exact=True).first.click()
    page.get_by_role("link", name="Anna@Example.com").click()
    page.locator("a.deletelink").click()
    page.locator("input[type=submit][value^=Yes]").click()
    page.get_by_text("was deleted successfully").wait_for()
    for path in ("/admin/auth/user/", "/admin/auth/user/add/", "/admin/password_change/"):
        page.goto(path)
    page.get_by_role("button", name="Log out").click()
    page.get_by_text("Thanks for spending").wait_for()
    assert colleague.complaints == []
