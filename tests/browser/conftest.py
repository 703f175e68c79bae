"""Chromium, as a visitor or a colleague would use it; whatever its console complains of is kept."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.service import Service

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Visit:
    """A page in a browser of its own, and what its console said."""

    page: Page
    complaints: list[str] = field(default_factory=list)


# For a module only: while it is open, Playwright keeps an event loop running in the tests' thread.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, web: Service) -> Iterator[Callable[..., Visit]]:
    """`visit("/", java_script_enabled=False)`: the page, opened; the options are those of a browser context."""
    contexts = []

    def open_page(path: str, **options: Any) -> Visit:
        context = chromium.new_context(base_url=web.url, **{"locale": "en-GB", **options})
        context.set_default_timeout(15_000)
        contexts.append(context)
        opened = Visit(context.new_page())
        opened.page.on(
            "console",
            lambda said: opened.complaints.append(said.text) if said.type in {"error", "warning"} else None,
        )
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(path)
        return opened

    yield open_page
    for context in contexts:
        context.close()
