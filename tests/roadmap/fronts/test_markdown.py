"""Lessons are shown safely, whatever a model has written."""

import pytest

from roadmap.markdown import to_html
from roadmap.reading import lowered


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](//evil.example)",
        "[x](/accounts/logout/)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        '[x](https://a.example "onmouseover=alert(1)")',
        '![x" onload="alert(1)](https://a.example/p.png)',
        "```\n</code></pre><script>alert(1)</script>\n```",
    ],
)
def test_nothing_runs_and_nothing_loads(text: str) -> None:
    html = to_html(text)
    for tag in ("<script", "<img", "<iframe", "<style"):
        assert tag not in html
    for address in ("javascript:", "data:", "//evil", "/accounts"):
        assert f'href="{address}' not in html.lower()
    assert ' onload="' not in html
    assert ' onmouseover="' not in html


def test_links_tell_the_other_side_nothing() -> None:
    html = to_html("[a](https://a.example) <https://b.example> ![c](https://c.example/c.png)")
    assert html.count("<a ") == html.count('rel="noopener noreferrer"') == 3
    assert ">c</a>" in html


def test_a_picture_in_a_link_is_that_link() -> None:
    html = to_html("[![logo](https://a.example/l.png)](https://b.example)")
    assert html == '<p><a href="https://b.example" rel="noopener noreferrer">logo</a></p>\n'


@pytest.mark.parametrize("text", ["# A\n\n## B", "### A\n\n#### B", "## A\n\n### B"])
def test_headings_begin_under_the_pages_own(text: str) -> None:
    assert to_html(text) == "<h2>A</h2>\n<h3>B</h3>\n"


def test_tables_are_aligned_without_styles() -> None:
    html = to_html("| a | b |\n|:--|--:|\n| 1 | 2 |")
    assert "style=" not in html
    assert html.count('class="align-left"') == html.count('class="align-right"') == 2


def test_an_export_lowers_headings_and_leaves_code_alone() -> None:
    text = "## A\n\n```sh\n# a comment\n```\n\n### B\n\n#no heading\n\n###### C"
    assert lowered(text, 3) == "#### A\n\n```sh\n# a comment\n```\n\n##### B\n\n#no heading\n\n###### C"


def test_an_export_of_a_lesson_without_headings_is_as_it_was() -> None:
    assert lowered("one\n\n~~~\n# two\n~~~", 3) == "one\n\n~~~\n# two\n~~~"
