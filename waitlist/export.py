"""The waitlist as CSV: streamed, and harmless to the spreadsheet that opens it."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from django.db.models import QuerySet

from waitlist.models import Entry

COLUMNS = ["email", "normalised", "source", "language", "joined_at", "invited_at"]
CHUNK = 2000  # rows read at a time, about 200 KB

BYTE_ORDER_MARK = "\ufeff"  # without it Excel takes UTF-8 for the code page of its country

# What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection"), with the wide and small forms
# that East Asian ones take for the same. Also after a separator inside the text: one that is set to another
# separator than the comma splits the text there.
_FORMULA = re.compile(r"""(^|[;,|"'\t\r\n])(?=\s*[=+\-@\t\r\n＝＋－＠﹦﹢﹣﹫])""")


def csv_lines(entries: QuerySet[Entry]) -> Iterator[str]:
    """The entries in the order of their ids, as pieces of one CSV file; header and byte order mark first.

    Each piece is one query of its own, which begins behind the last one's id. So the connection can go back
    after every piece, however slowly the file is taken, and no more than one piece is ever in memory.
    """
    yield BYTE_ORDER_MARK + _csv([COLUMNS])
    entries = entries.order_by("pk")
    last = 0
    while rows := list(entries.filter(pk__gt=last).values_list("pk", *COLUMNS)[:CHUNK]):
        last = rows[-1][0]
        yield _csv([[as_cell(value) for value in row[1:]] for row in rows])


def as_cell(value: str | datetime | None) -> str:
    """A value for a spreadsheet: times in ISO 8601 and UTC, formulas turned to text by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return _FORMULA.sub(r"\1'", value)


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()
