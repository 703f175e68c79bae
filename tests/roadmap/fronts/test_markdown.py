"""Lessons are shown safely, whatever a model has written."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from roadmap.markdown import lowered, to_html

FENCES = ("```", "````", "`````", "~~~", "~~~~", "``` sh", "~~~ a`b", "   ```", "  ````")
LINES = st.lists(
    st.sampled_from(
        [*FENCES, "# A", "## B #", "### C", "#", "#none", "   # D", "    # code", "- # E", "text", ""]
    ),
    max_size=20,
)
_parser = MarkdownIt("commonmark")


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


def test_an_underlined_heading_is_lowered_too() -> None:
    assert lowered("One\ntwo\n===\n\nThree\n---\n\n# Four", 3) == "#### One two\n\n##### Three\n\n#### Four"


@given(LINES, st.integers(1, 4))
@example(["````", "```", "# code", "```", "# code", "````", "# A"], 3)
@example(["```", "~~~", "# code", "``` sh", "# code", "```", "# A"], 3)
def test_an_export_changes_headings_and_nothing_else(lines: list[str], below: int) -> None:
    """As a parser sees it, before and after."""
    before = _parser.parse("\n".join(lines))
    after = _parser.parse(lowered("\n".join(lines), below))
    levels = [int(token.tag[1]) for token in before if token.type == "heading_open"]
    lowest = [min(level + below + 1 - min(levels), 6) for level in levels]
    assert [int(token.tag[1]) for token in after if token.type == "heading_open"] == lowest
    assert [(token.type, token.content) for token in after] == [
        (token.type, token.content) for token in before
    ]
