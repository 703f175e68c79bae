"""Whatever a visitor reads can be read in German: the catalogues are complete, and compiled as they stand."""

import ast
import gettext
import io
import re
from pathlib import Path

import pytest
from django.conf import settings

CATALOGUES = sorted(settings.BASE_DIR.glob("*/locale/de/LC_MESSAGES/django.po"))
MESSAGE = re.compile(r'^msgid (".+")\n(?:msgid_plural .*\n)?msgstr(?:\[0\])? (".*")$', re.MULTILINE)
MARKED = re.compile(
    r"""\{% translate "([^"]+)" %\}|\b(?:_|_lazy|(?:n?gettext)(?:_lazy|_noop)?)\(\s*((?:"[^"\n]*"\s*)+)[,)]"""
)
BLOCKS = re.compile(r"\{% blocktranslate[^%]* %\}(.+?)\{% (?:plural|endblocktranslate) %\}", re.DOTALL)


def messages(catalogue: Path) -> dict[str, str]:
    """Each message of a .po file, one line per text, with its first translation."""
    return {
        ast.literal_eval(text): ast.literal_eval(translated)
        for text, translated in MESSAGE.findall(catalogue.read_text())
    }


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parts[-5])
def test_every_message_is_translated_and_compiled(catalogue: Path) -> None:
    written = messages(catalogue)
    assert [text for text, translated in written.items() if not translated] == []
    assert "#, fuzzy" not in catalogue.read_text()
    compiled = gettext.GNUTranslations(io.BytesIO(catalogue.with_suffix(".mo").read_bytes()))
    stale = [text for text, translated in written.items() if compiled.gettext(text) != translated]
    assert [text for text in stale if compiled.ngettext(text, text, 1) != written[text]] == []


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parts[-5])
def test_no_message_is_missing_from_the_catalogue(catalogue: Path) -> None:
    app = catalogue.parents[3]
    sources = [path for path in app.rglob("*") if path.suffix in (".py", ".html", ".txt")]
    marked = {
        in_template or "".join(ast.literal_eval(part) for part in re.findall(r'"[^"\n]*"', in_code))
        for source in sources
        for in_template, in_code in MARKED.findall(source.read_text())
    }
    for template in (app / "templates").rglob("*.html"):
        blocks = BLOCKS.findall(template.read_text())
        marked |= {re.sub(r"\{\{ (\w+) \}\}", r"%(\1)s", " ".join(block.split())) for block in blocks}
    assert marked
    assert marked - messages(catalogue).keys() == set()


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.parts[-5])
def test_translations_have_the_fields_of_their_messages(catalogue: Path) -> None:
    fields = re.compile(r"%\(\w+\)\w+|%\w")
    assert [
        text
        for text, translated in messages(catalogue).items()
        if sorted(fields.findall(text)) != sorted(fields.findall(translated))
    ] == []
