"""Every text stands out from its ground as WCAG 2.2 AA asks, in the light and in the dark."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import Visit

TEXT, LARGE_TEXT, EDGE = 4.5, 3.0, 3.0  # WCAG 2.2, 1.4.3 and 1.4.11
GROUNDS = ["ground", "surface", "sunken"]
PAIRS = [
    *[
        (ink, ground, TEXT)
        for ink in ("ink", "muted", "accent", "accent-strong", "bad")
        for ground in GROUNDS
    ],
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-strong", TEXT),
    ("on-accent-soft", "accent-soft", TEXT),
    ("on-bad-soft", "bad-soft", TEXT),
    ("on-warn-soft", "warn-soft", TEXT),
    *[("edge", ground, EDGE) for ground in GROUNDS],
]

# For each text of the page that can be seen: its colour, the first ground behind it, whether it is large.
TEXTS = """
() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    let behind = element;
    while (behind && getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
    const size = parseFloat(style.fontSize);
    found.push({
      text,
      ink: style.color,
      ground: getComputedStyle(behind ?? document.body).backgroundColor,
      large: size >= 24 || (size >= 18.66 && style.fontWeight >= 700),
    });
  }
  return found;
}
"""
TOKENS = """
(names) => Object.fromEntries(names.map((name) => {
  const probe = document.body.appendChild(document.createElement("div"));
  probe.style.color = `var(--${name})`;
  return [name, getComputedStyle(probe).color];
}))
"""


def luminance(colour: str) -> float:
    """WCAG's relative luminance of a computed `rgb(r, g, b)`."""
    assert colour.startswith("rgb("), colour
    red, green, blue = (int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(ink: str, ground: str) -> float:
    darker, lighter = sorted([luminance(ink), luminance(ground)])
    return (lighter + 0.05) / (darker + 0.05)


def test_the_sum_itself() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_pair_of_colours_of_the_style_sheet(visit: Callable[..., Visit], scheme: str) -> None:
    names = sorted({name for ink, ground, _ in PAIRS for name in (ink, ground)})
    colours = visit("/", color_scheme=scheme).page.evaluate(TOKENS, names)
    too_faint = [
        f"{ink} on {ground}: {contrast(colours[ink], colours[ground]):.2f}"
        for ink, ground, least in PAIRS
        if contrast(colours[ink], colours[ground]) < least
    ]
    assert too_faint == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_that_is_on_a_page(visit: Callable[..., Visit], scheme: str) -> None:
    visitor = visit("/", color_scheme=scheme)
    page = visitor.page
    texts = page.evaluate(TEXTS)
    page.get_by_label("E-mail address").fill("anna@example")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("a name with a dot in it").wait_for()
    texts += page.evaluate(TEXTS)
    for path in ("/thanks", "/nowhere"):
        page.goto(path)
        texts += page.evaluate(TEXTS)
    assert len(texts) > 100
    too_faint = {
        f"{text['text']}: {contrast(text['ink'], text['ground']):.2f}"
        for text in texts
        if contrast(text["ink"], text["ground"]) < (LARGE_TEXT if text["large"] else TEXT)
    }
    assert too_faint == set()
