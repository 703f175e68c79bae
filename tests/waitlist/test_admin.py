"""What staff can do with the waitlist in the admin."""

import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.service import wait_until
from waitlist.models import Entry

LIST = "/admin/waitlist/entry/"
ADD = LIST + "add/"
EXPORT = LIST + "export/"


def entry(email: str, **fields: Any) -> Entry:
    return Entry.objects.create(email=email, normalised=email.lower(), **fields)


def listed(client: Client, **query: str) -> set[str]:
    answer = client.get(f"{LIST}?{urlencode(query)}")
    assert answer.status_code == 200
    return {found.email for found in answer.context["cl"].result_list}


def form(email: str, **fields: str) -> dict[str, str]:
    return {"email": email, "source": "", "language": "", "invited_at_0": "", "invited_at_1": "", **fields}


@pytest.fixture
def people(db: None) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    entry("Anna@Example.com", source="podcast", joined_at=noon)
    entry("ben@example.com", source="", joined_at=noon.replace(day=21), invited_at=noon.replace(day=22))
    Entry.objects.create(
        email="Zoe@xn--mnchen-3ya.example", normalised="zoe@xn--mnchen-3ya.example", source="podcast"
    )


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("anna@example.com", {"Anna@Example.com"}),
        (" ANNA@EXAMPLE.COM ", {"Anna@Example.com"}),
        ("ZOE@MÜNCHEN.example", {"Zoe@xn--mnchen-3ya.example"}),
        ("zoe@xn--mnchen-3ya.example", {"Zoe@xn--mnchen-3ya.example"}),
        ("example.com", {"Anna@Example.com", "ben@example.com"}),
        ("anna@example.co", {"Anna@Example.com"}),
        ("a%@example.com", set()),
        ("nobody@example.com", set()),
    ],
)
@pytest.mark.usefixtures("people")
def test_an_address_is_found_in_any_spelling_or_by_a_part(
    admin_client: Client, searched: str, found: set[str]
) -> None:
    assert listed(admin_client, q=searched) == found


@pytest.mark.usefixtures("people")
def test_the_list_is_filtered_by_source_day_and_invitation(admin_client: Client) -> None:
    assert listed(admin_client, source="podcast") == {"Anna@Example.com", "Zoe@xn--mnchen-3ya.example"}
    assert listed(admin_client, source="") == {"ben@example.com"}
    assert listed(admin_client, source="a\x00b") == set()
    assert listed(admin_client, invited_at__isempty="0") == {"ben@example.com"}
    day = {"joined_at__year": "2026", "joined_at__month": "11", "joined_at__day": "20"}
    assert listed(admin_client, **day) == {"Anna@Example.com"}


@pytest.mark.django_db
def test_the_sources_of_most_people_are_offered_however_many_there_are(admin_client: Client) -> None:
    for number in range(40):
        entry(f"{number}@example.com", source=f"s{number}")
    entry("40@example.com", source="s7")
    answer = admin_client.get(f"{LIST}?source=s39")
    (sources,) = [spec for spec in answer.context["cl"].filter_specs if spec.title == "source"]
    offered = [value for value, label in sources.lookup_choices]
    assert offered[0] == "s7"
    assert "s39" in offered  # the one that is chosen
    assert len(offered) <= 26


@pytest.mark.usefixtures("people")
def test_a_filtered_list_does_not_count_the_whole_table(admin_client: Client) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        listed(admin_client, source="podcast")
    counts = [
        query["sql"] for query in queries if "COUNT(*)" in query["sql"] and "waitlist_entry" in query["sql"]
    ]
    assert counts
    assert all("WHERE" in sql for sql in counts)


@pytest.mark.django_db
def test_an_entry_made_by_hand_is_judged_like_a_visitors(admin_client: Client) -> None:
    answer = admin_client.post(ADD, form("  Zoe@MÜNCHEN.example ", source=" phone "))
    assert answer.status_code == 302
    made = Entry.objects.get()
    assert (made.email, made.normalised, made.source) == (
        "Zoe@MÜNCHEN.example",
        "zoe@xn--mnchen-3ya.example",
        "phone",
    )
    assert made.joined_at is not None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (form("anna@example"), "After the @ we need a name with a dot in it"),
        (form("a\u200bnna@example.org"), "Character 2 of this address"),
        (form("BEN@example.COM"), "This address is on the list already."),
        (form("anna@example.org", source="a\u202eb"), "visible characters only"),
    ],
)
@pytest.mark.usefixtures("people")
def test_an_entry_made_by_hand_is_refused_with_the_reason(
    admin_client: Client, fields: dict[str, str], reason: str
) -> None:
    answer = admin_client.post(ADD, fields)
    assert answer.status_code == 200
    assert reason in answer.content.decode()
    assert Entry.objects.count() == 3


@pytest.mark.usefixtures("people")
def test_a_corrected_address_is_known_by_its_new_form(admin_client: Client) -> None:
    anna = Entry.objects.get(normalised="anna@example.com")
    change = f"{LIST}{anna.pk}/change/"
    assert b'name="normalised"' not in admin_client.get(change).content
    answer = admin_client.post(change, form("Anna@Example.org", normalised="made@up.example"))
    assert answer.status_code == 302
    anna.refresh_from_db()
    assert (anna.email, anna.normalised) == ("Anna@Example.org", "anna@example.org")


@pytest.mark.django_db(transaction=True)
def test_staff_who_lose_a_race_with_a_visitor_are_told(admin_client: Client) -> None:
    address = connection.get_connection_params()
    visitor = psycopg.connect(
        host=address["host"],
        port=address["port"],
        user=address["user"],
        password=address["password"],
        dbname=address["dbname"],
    )
    answers = []
    with visitor:
        visitor.execute(
            "INSERT INTO waitlist_entry (email, normalised, source, language)"
            " VALUES ('anna@example.com', 'anna@example.com', '', '')"
        )
        # Not committed yet: the form sees nobody by that address, and its save waits for this transaction.
        staff = threading.Thread(target=lambda: answers.append(_post_and_close(admin_client)))
        staff.start()
        wait_until(lambda: _someone_waits_for_a_lock(), 10, "the admin's save waits")
    staff.join(10)
    (answer,) = answers
    assert answer.status_code == 302
    assert "on the list already" in admin_client.get(LIST).content.decode()
    assert Entry.objects.count() == 1


def _post_and_close(client: Client) -> Any:
    try:
        return client.post(ADD, form("Anna@Example.com"))
    finally:
        connection.close()


def _someone_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone() != (0,)


@pytest.mark.usefixtures("people")
def test_marking_as_invited_leaves_earlier_invitations_as_they_are(admin_client: Client) -> None:
    earlier = Entry.objects.get(email="ben@example.com").invited_at
    chosen = Entry.objects.exclude(email="Zoe@xn--mnchen-3ya.example")
    answer = admin_client.post(
        LIST, {"action": "mark_as_invited", "_selected_action": [found.pk for found in chosen]}, follow=True
    )
    assert "1 person is marked as invited." in answer.content.decode()
    assert Entry.objects.get(email="ben@example.com").invited_at == earlier
    assert Entry.objects.get(email="Anna@Example.com").invited_at is not None
    assert Entry.objects.get(email="Zoe@xn--mnchen-3ya.example").invited_at is None


@pytest.mark.usefixtures("people")
def test_everyone_that_a_filter_leaves_can_be_invited_at_once(admin_client: Client) -> None:
    entry("carl@example.com", source="friend")
    page = Entry.objects.filter(source="podcast")[:1]
    choice = {
        "action": "mark_as_invited",
        "select_across": "1",
        "_selected_action": [found.pk for found in page],
    }
    admin_client.post(f"{LIST}?source=podcast", choice)
    assert [found.email for found in Entry.objects.filter(invited_at=None)] == ["carl@example.com"]


@pytest.mark.usefixtures("people")
def test_staff_need_the_permission_to_see_to_change_and_to_export(client: Client) -> None:
    colleague = User.objects.create_user("colleague", password="secret", is_staff=True)
    client.force_login(colleague)
    assert client.get(LIST).status_code == client.get(EXPORT).status_code == 403
    colleague.user_permissions.add(Permission.objects.get(codename="view_entry"))
    assert b"".join(client.get(EXPORT)).count(b"\r\n") == 4
    page = client.get(LIST).content.decode()
    assert "export_selected" in page
    assert "mark_as_invited" not in page
