"""Markdown that a model wrote, as HTML that is safe to show.

HTML in it stays text. Links lead to the web only, and tell the other side nothing. Images become links: a page
loads nothing from elsewhere. The policy allows no `style`, so a table's cells are aligned by class.
"""

from collections.abc import Iterator

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

TOP = 2  # what a lesson's own highest heading becomes; the page has the one above
REL = "noopener noreferrer"


def is_web_address(address: str) -> bool:
    """Whether an address that a model or a file names may be a link."""
    return address.lower().startswith(("https://", "http://"))


_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_blocks = MarkdownIt("commonmark").disable("inline")
_markdown.validateLink = is_web_address  # type: ignore[method-assign, assignment]


def to_html(text: str) -> SafeString:
    """A lesson as HTML; its headings begin with `<h2>`."""
    tokens = _markdown.parse(text)
    highest = min((int(token.tag[1]) for token in tokens if token.type == "heading_open"), default=TOP)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) - highest + TOP, 6)}"
        elif style := token.attrs.pop("style", None):
            token.attrSet("class", str(style).replace("text-align:", "align-"))
        if token.children:
            token.children = list(_inline(token.children))
    html: str = _markdown.renderer.render(tokens, _markdown.options, {})
    return mark_safe(html)  # noqa: S308  # the renderer escapes; html=False


def _inline(tokens: list[Token]) -> Iterator[Token]:
    in_link = False
    for token in tokens:
        if token.type == "link_open":
            token.attrSet("rel", REL)
        if token.type in ("link_open", "link_close"):
            in_link = token.type == "link_open"
        if token.type != "image":
            yield token
            continue
        address = str(token.attrs["src"])
        said = Token("text", "", 0, content=token.content or address)
        if in_link:
            yield said
        else:
            yield Token("link_open", "a", 1, attrs={"href": address, "rel": REL})
            yield said
            yield Token("link_close", "a", -1)


def lowered(text: str, below: int) -> str:
    """The Markdown with its highest heading one level under `below`, and the others as far below that."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    headings = [token for token in _blocks.parse(text) if token.type == "heading_open"]
    shift = below + 1 - min((int(token.tag[1]) for token in headings), default=0)
    for token in reversed(headings):
        assert token.map is not None  # noqa: S101  # a block has its lines
        start, end = token.map
        marks = "#" * min(int(token.tag[1]) + shift, 6)
        if token.markup.startswith("#"):
            lines[start] = lines[start].replace(token.markup, marks, 1)
        elif token.level == 0:
            # One that is underlined: there are no underlines for lower levels.
            lines[start:end] = [f"{marks} {' '.join(line.strip() for line in lines[start : end - 1])}"]
    return "\n".join(lines)
