"""What the pages show in each state, and what their forms do."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from roadmap.models import Concept, Roadmap, State
from roadmap.runs import events
from tests.roadmap.fronts.rows import roadmap_of

NEW = {"goal": "running PostgreSQL", "level": "", "hours_per_week": "", "weeks": ""}


def text_of(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_a_form_begins_a_roadmap_and_leads_to_it(signed_in: Client, anna: User) -> None:
    answer = signed_in.post("/roadmaps/new/", {**NEW, "hours_per_week": "5", "weeks": "8"})
    made = Roadmap.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/roadmaps/{made.pk}/"
    assert (made.owner, made.state, made.hours_per_week, made.weeks) == (anna, "queued", 5, 8)


@pytest.mark.parametrize(
    "fields",
    [{"goal": ""}, {"goal": "x" * 501}, {"weeks": "0"}, {"hours_per_week": "169"}, {"weeks": "many"}],
)
def test_a_form_that_cannot_be_taken_comes_back_with_the_reason(
    signed_in: Client, fields: dict[str, str]
) -> None:
    answer = signed_in.post("/roadmaps/new/", {**NEW, **fields})
    assert answer.status_code == 422
    (name,) = fields
    assert answer.context["form"].errors.keys() == {name}
    assert b'aria-invalid="true"' in answer.content
    assert not Roadmap.objects.exists()


def test_the_built_in_catalogue_is_named_and_offered(signed_in: Client) -> None:
    text = text_of(signed_in, "/roadmaps/new/")
    assert "From the built-in catalogue" in text
    assert "Running PostgreSQL" in text


def test_a_goal_that_the_catalogue_does_not_know_gets_the_nearest_topics(signed_in: Client) -> None:
    answer = signed_in.post("/roadmaps/new/", {**NEW, "goal": "keeping bees"})
    assert answer.status_code == 422
    offered = re.findall(rb'href="/roadmaps/new/\?goal=[^"]+"', answer.content)
    assert len(offered) >= 3
    assert b"no roadmap for this goal" in answer.content
    assert b"keeping bees</textarea>" in answer.content


def test_who_has_as_many_as_they_may_is_told_so(signed_in: Client, anna: User) -> None:
    for _ in range(settings.ROADMAPS_AT_ONCE):
        roadmap_of(anna, "writing")
    answer = signed_in.post("/roadmaps/new/", NEW)
    assert answer.status_code == 429
    assert f"{settings.ROADMAPS_AT_ONCE} unfinished roadmaps" in answer.content.decode()
    assert Roadmap.objects.count() == settings.ROADMAPS_AT_ONCE


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_page_with_what_can_be_done(signed_in: Client, anna: User, state: str) -> None:
    gaps = 1 if state == "ready_with_gaps" else 0
    roadmap = roadmap_of(anna, state, lessons=2, gaps=gaps, error="It broke." if state == "failed" else "")
    answer = signed_in.get(f"/roadmaps/{roadmap.pk}/")
    assert answer.status_code == 200
    actions = set(re.findall(rf"/roadmaps/{roadmap.pk}/(\w+)/\"", answer.content.decode()))
    unfinished = state in ("queued", "drafting", "review", "writing")
    assert ("cancel" in actions) == unfinished
    assert ("retry" in actions) == (state in ("failed", "ready_with_gaps"))
    assert ("review" in actions) == (state == "review")
    assert (b"roadmap/live." in answer.content) == (state in ("queued", "drafting", "writing"))
    assert (b'http-equiv="refresh"' in answer.content) == (state in ("queued", "drafting", "writing"))
    assert "delete" in actions
    assert (b"It broke." in answer.content) == (state == "failed")
    assert b"style=" not in answer.content


@pytest.mark.parametrize(
    ("said", "now"),
    [
        ([], "understand"),
        (["understand"], "outline"),
        (["understand", "outline"], "check"),
        (["understand", "outline", "check"], "review"),
        (["understand", "outline", "check", "repair"], "check"),
    ],
)
def test_a_draft_shows_the_step_that_it_is_at(
    signed_in: Client, anna: User, said: list[str], now: str
) -> None:
    roadmap = Roadmap.objects.create(owner=anna, goal="Django", state="drafting")
    for step in said:
        events.record(roadmap.pk, "status", {"status": "drafting", "step": step})
    answer = signed_in.get(f"/roadmaps/{roadmap.pk}/")
    assert [name for name, _label, place in answer.context["steps"] if place == "now"] == [now]


def test_a_review_shows_the_outline_as_a_list_and_as_a_graph(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "review", lessons=0)
    page = signed_in.get(f"/roadmaps/{roadmap.pk}/").content.decode()
    assert page.count('<li class="lesson">') == 4
    (graph,) = re.findall(r"<svg class=\"graph\".*?</svg>", page, re.DOTALL)
    assert "<title" in graph
    assert "<desc" in graph
    assert graph.count("<g class") == 4


def test_a_change_needs_words_and_keeps_those_that_were_too_many(signed_in: Client, anna: User) -> None:
    path = f"/roadmaps/{roadmap_of(anna, 'review', lessons=0).pk}/review/"
    empty = signed_in.post(path, {"decision": "revise", "feedback": " "})
    assert empty.status_code == 422
    assert b"say what to change" in empty.content
    long = "shorter " * 1000
    answer = signed_in.post(path, {"decision": "revise", "feedback": long})
    assert answer.status_code == 422
    assert long.strip() in answer.content.decode()
    assert Roadmap.objects.get().state == "review"


def test_a_button_that_came_too_late_says_why(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "review", lessons=0)
    path = f"/roadmaps/{roadmap.pk}/"
    for decision, state in (("approve", "writing"), ("approve", "writing")):
        answer = signed_in.post(f"{path}review/", {"decision": decision, "feedback": ""}, follow=True)
        assert answer.redirect_chain == [(path, 302)]
        assert Roadmap.objects.get().state == state
    assert "Nothing was changed" in answer.content.decode()


def test_reading_is_counted_and_goes_on_to_the_next_lesson(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna)
    path = f"/roadmaps/{roadmap.pk}/"
    assert "Begin with: Tables and types" in text_of(signed_in, path)
    answer = signed_in.post(f"{path}1/learned/", {"learned": "1"})
    assert answer["Location"] == f"{path}2/"
    text = text_of(signed_in, path)
    assert "1 of 4 learned" in text
    assert "Go on with: How a query runs" in text
    signed_in.post(f"{path}1/learned/", {"learned": "0"})
    assert "0 of 4 learned" in text_of(signed_in, path)
    for number in range(1, 5):
        answer = signed_in.post(f"{path}{number}/learned/", {"learned": "1"})
    assert answer["Location"] == path
    assert "You have learned it all" in text_of(signed_in, path)


def test_a_lesson_leads_to_what_it_needs_and_what_needs_it(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna)
    text = text_of(signed_in, f"/roadmaps/{roadmap.pk}/2/")
    assert "Needs first: Tables and types" in text
    assert re.search(r"Leads to: Indexes\s*, Reading a plan", text)
    page = signed_in.get(f"/roadmaps/{roadmap.pk}/2/").content.decode()
    assert "&lt;script&gt;" in page
    assert "javascript:alert" not in page
    assert 'href="https://www.postgresql.org/docs/" rel="noopener noreferrer"' in page


@pytest.mark.parametrize("number", [0, 5, 10**6])
def test_there_are_no_other_lessons(signed_in: Client, anna: User, number: int) -> None:
    path = f"/roadmaps/{roadmap_of(anna).pk}/{number}/"
    assert signed_in.get(path).status_code == 404
    assert signed_in.post(f"{path}learned/").status_code == 404


def test_what_is_not_written_cannot_be_learned(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna, "ready_with_gaps", lessons=3, gaps=1)
    text = text_of(signed_in, f"/roadmaps/{roadmap.pk}/4/")
    assert "The model gave up." in text
    assert signed_in.post(f"/roadmaps/{roadmap.pk}/4/learned/").status_code == 404
    assert not Concept.objects.exclude(learned_at=None).exists()


def test_deleting_asks_first(signed_in: Client, anna: User) -> None:
    roadmap = roadmap_of(anna)
    path = f"/roadmaps/{roadmap.pk}/delete/"
    assert "This cannot be undone" in text_of(signed_in, path)
    assert Roadmap.objects.exists()
    answer = signed_in.post(path, follow=True)
    assert answer.redirect_chain == [("/roadmaps/", 302)]
    assert "The roadmap is deleted." in answer.content.decode()
    assert not Roadmap.objects.exists()


def test_the_list_shows_how_far_each_one_is(signed_in: Client, anna: User, ben: User) -> None:
    assert "Make your first roadmap" in text_of(signed_in, "/roadmaps/")
    roadmap = roadmap_of(anna)
    Concept.objects.filter(roadmap=roadmap, key="tables").update(learned_at=timezone.now())
    roadmap_of(anna, "writing", lessons=3)
    Roadmap.objects.create(owner=ben, goal="something of his own")
    text = text_of(signed_in, "/roadmaps/")
    assert "1/4" in text
    assert "3/4" in text
    assert "4 lessons, 10 hours" in text
    assert "something of his own" not in text


def test_a_list_of_any_length_takes_the_same_number_of_queries(
    signed_in: Client, anna: User, django_assert_num_queries: object
) -> None:
    for _ in range(12):
        roadmap_of(anna)
    with django_assert_num_queries(4):  # type: ignore[operator]  # the session, the person, their number, the list
        assert signed_in.get("/roadmaps/").status_code == 200


def test_a_long_list_has_pages(signed_in: Client, anna: User) -> None:
    Roadmap.objects.bulk_create(Roadmap(owner=anna, goal=f"goal {number:03}") for number in range(101))
    seen = []
    path = "/roadmaps/"
    for rest in (True, True, False):
        text = signed_in.get(path).content.decode()
        seen.append(re.findall(r"goal \d{3}", text))
        older = re.search(r'href="(\?page=\d)"\s+rel="next"', text)
        assert bool(older) == rest
        path = f"/roadmaps/{older[1]}" if older else path
    assert [len(page) for page in seen] == [50, 50, 1]
    assert len({goal for page in seen for goal in page}) == 101


@pytest.mark.parametrize("path", ["", "1/", "delete/", "3/learned/"])
def test_a_page_reads_no_lesson_but_its_own(signed_in: Client, anna: User, path: str) -> None:
    roadmap = roadmap_of(anna)
    for concept in roadmap.concepts.all():
        Concept.objects.filter(pk=concept.pk).update(lesson=f"the text of {concept.key}")
    with CaptureQueriesContext(connection) as queries:
        ask = signed_in.post if path.endswith("learned/") else signed_in.get
        text = ask(f"/roadmaps/{roadmap.pk}/{path}").content.decode()
    of_lessons = [one["sql"] for one in queries if '"roadmap_concept"."lesson",' in one["sql"]]
    alone = [one["sql"] for one in queries if '"roadmap_concept"."lesson" FROM' in one["sql"]]
    assert of_lessons == []
    assert ("the text of tables" in text) == (path == "1/") == bool(alone)


def test_pages_of_a_person_are_kept_by_nobody(signed_in: Client, anna: User) -> None:
    for path in ("/roadmaps/", f"/roadmaps/{roadmap_of(anna).pk}/", "/accounts/"):
        assert "no-store" in signed_in.get(path)["Cache-Control"]
