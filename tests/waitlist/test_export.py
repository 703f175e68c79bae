"""The CSV that staff take home: complete, harmless to a spreadsheet, and streamed without holding anything."""

import contextlib
import csv
import io
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import Database
from tests.service import Service, query, wait_until
from waitlist.export import as_cell

EXPORT = "/admin/waitlist/entry/export/"
ENTRIES = """
    INSERT INTO waitlist_entry (email, normalised, source, language, joined_at)
    SELECT 'Person.' || n || '@Example.com', 'person.' || n || '@example.com', %s, 'en', '2026-11-20 12:00+01'
    FROM generate_series(1, %s) AS n
"""
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
texts = st.text(
    st.sampled_from("=+-@＝＋\t\r\n ;,|'\"a1") | st.characters(exclude_categories=["Cs"]), max_size=12
)


def fill(database: Database, number: int, source: str = "") -> None:
    with_insert = f"WITH inserted AS ({ENTRIES} RETURNING 1) SELECT count(*) FROM inserted"
    assert query(database.url, with_insert, source, number) == [(number,)]


@contextlib.contextmanager
def signed_in(web: Service, staff: tuple[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=web.url, timeout=60) as client:
        client.get("/admin/login/")
        name, password = staff
        answer = client.post(
            "/admin/login/?next=/admin/",
            data={"username": name, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]},
        )
        assert answer.status_code == 302, answer.text
        yield client


def rows(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")  # Excel takes it for another encoding without
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "＝1+1", "＋1", "－1", "＠x", " =1", "\u00a0=1", "﹦1"],
)
def test_a_formula_becomes_a_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"


def test_a_tab_or_a_line_break_in_front_does_not_help() -> None:
    assert as_cell("\t=1") == "'\t'=1"
    assert as_cell("\r=1") == "'\r'=1"


@pytest.mark.parametrize("text", ["", "anna+road@example.com", "a-b", "3=3", "it's"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert as_cell(text) == text


@example(["", "x;=1"], ";")
@example(["", "x\t=1"], "\t")
@example(["", 'x"=1'], ",")
@given(st.lists(texts, min_size=1, max_size=4), st.sampled_from(",;\t|"))
def test_no_spreadsheet_finds_a_formula_whatever_separator_it_expects(
    values: list[str], separator: str
) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(as_cell(value) for value in values)
    for row in csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=separator):
        for cell in row:
            assert not FORMULA.match(cell), row


def test_times_are_iso_and_utc() -> None:
    assert as_cell(datetime(2026, 11, 20, 12, 0, 5, 999, tzinfo=UTC)) == "2026-11-20T12:00:05+00:00"
    assert as_cell(None) == ""


def test_the_list_is_exported_as_it_is_filtered(
    web: Service, database: Database, staff: tuple[str, str]
) -> None:
    fill(database, 4321, "podcast")
    query(
        database.url,
        "INSERT INTO waitlist_entry (email, normalised, source, language, invited_at)"
        " VALUES ('=cmd@example.com', '=cmd@example.com', '=1;=2', 'de', '2026-11-21 00:00Z') RETURNING 1",
    )
    with signed_in(web, staff) as client:
        everyone = rows(client.get(EXPORT))
        assert [row["normalised"] for row in everyone[:-1]] == [
            f"person.{n}@example.com" for n in range(1, 4322)
        ]
        assert everyone[0] == {
            "email": "Person.1@Example.com",
            "normalised": "person.1@example.com",
            "source": "podcast",
            "language": "en",
            "joined_at": "2026-11-20T11:00:00+00:00",
            "invited_at": "",
        }
        assert everyone[-1]["email"] == "'=cmd@example.com"
        assert everyone[-1]["source"] == "'=1;'=2"
        assert everyone[-1]["invited_at"] == "2026-11-21T00:00:00+00:00"
        assert len(rows(client.get(EXPORT, params={"source": "podcast"}))) == 4321
        assert len(rows(client.get(EXPORT, params={"q": "person.432"}))) == 3
        assert rows(client.get(EXPORT, params={"source": "nobody"})) == []
        listed = client.get("/admin/waitlist/entry/", params={"source": "podcast", "q": "person.43"})
        assert f'href="{EXPORT}?source=podcast&amp;q=person.43"' in listed.text


def test_the_chosen_entries_are_exported(web: Service, database: Database, staff: tuple[str, str]) -> None:
    fill(database, 10)
    with signed_in(web, staff) as client:
        client.get("/admin/waitlist/entry/")
        chosen = [
            id for (id,) in query(database.url, "SELECT id FROM waitlist_entry ORDER BY id LIMIT 3 OFFSET 4")
        ]
        form = {
            "action": "export_selected",
            "_selected_action": chosen,
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        exported = rows(client.post("/admin/waitlist/entry/", data=form, headers={"referer": web.url}))
    assert [row["normalised"] for row in exported] == [f"person.{n}@example.com" for n in (5, 6, 7)]


def test_nobody_else_gets_it(web: Service, database: Database) -> None:
    fill(database, 1)
    answer = web.get(EXPORT)
    assert answer.status_code == 302
    assert urlsplit(answer.headers["location"]).path == "/admin/login/"


def test_a_slow_reader_holds_no_connection_no_thread_and_no_memory(
    start: Callable[..., Service], database: Database, staff: tuple[str, str]
) -> None:
    fill(database, 200_000)
    web = start("web", database, WEB_CONCURRENCY="1")
    with signed_in(web, staff) as client:
        cookie = f"sessionid={client.cookies['sessionid']}"
    (pid,) = web.worker_pids()
    before = peak_memory(pid)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(60)
        reader.connect(("127.0.0.1", web.port))
        headers = f"Host: 127.0.0.1:{web.port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        reader.sendall(f"GET {EXPORT} HTTP/1.1\r\n{headers}".encode())
        received = reader.recv(100)
        assert received.startswith(b"HTTP/1.1 200")

        # Neither buffer takes more, so the file waits for its reader, with most of it yet to be read.
        def at_rest() -> bool:
            health = web.health()
            return health["pools"]["orm"]["used"] == 0 and health["threads"]["busy"] == 0

        wait_until(at_rest, 10, "the export holds nothing")
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        received += b"".join(iter(lambda: reader.recv(1 << 20), b""))
    assert b'"person.200000@example.com"' in received
    assert received.count(b"\r\n") > 200_000
    # All of it at once would be some 26 MB as a file, and more than 100 as rows.
    assert peak_memory(pid) - before < 20 * 1024


def peak_memory(pid: int) -> int:
    """The most memory that a process has had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1])
