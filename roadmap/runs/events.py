"""What a run leaves behind: its rows, its state and its events, written together or not at all.

A job that takes a roadmap raises its attempt, and so does a person who decides about it. Whatever a job writes later
holds the row and finds its own attempt there, or is refused: a worker thought dead cannot write. Every function can be
repeated after a cut that left open whether it came through.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from roadmap.models import AT_WORK, Concept, Event, Roadmap, Stage, State

CHANNEL = "roadmap_events"

# The announcement carries ids only: those who listen read the rows.
RECORD = """
    WITH step AS (
        UPDATE roadmap_roadmap SET last_event = last_event + 1, losses = 0, updated_at = now()
         WHERE id = %s RETURNING id, last_event
    ), event AS (
        INSERT INTO roadmap_event (roadmap_id, number, kind, data)
        SELECT id, last_event, %s, %s::jsonb FROM step RETURNING roadmap_id, number
    )
    SELECT pg_notify(%s, roadmap_id || ' ' || number) FROM event
"""


class Fenced(Exception):
    """Another job has taken the roadmap, or it was cancelled or deleted: this one may write nothing more."""


@dataclass(frozen=True)
class Taken:
    """A roadmap as the job finds it that has taken it.

    Attributes:
        outline: what its rows hold, as the authors' plain data; None while there is none.
        written: the keys of the concepts that have a lesson.
        feedback: everything that reviews have asked for, the oldest first.
    """

    id: uuid.UUID
    attempt: int
    thread_id: str
    state: str
    brief: dict[str, Any]
    outline: dict[str, Any] | None
    written: frozenset[str]
    feedback: list[str]


def record(roadmap_id: uuid.UUID, kind: str, data: Mapping[str, Any]) -> None:
    """Append an event and announce it, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [roadmap_id, kind, json.dumps(data), CHANNEL])


def take(roadmap_id: uuid.UUID, author: str) -> Taken | None:
    """Take a roadmap for a job; None if there is nothing to do for it."""
    with transaction.atomic():
        found = Roadmap.objects.select_for_update(no_key=True).filter(pk=roadmap_id, state__in=AT_WORK)
        roadmap = found.first()
        if roadmap is None:
            return None
        if roadmap.state == State.QUEUED:
            roadmap.state = State.DRAFTING
            record(roadmap.pk, "status", {"status": State.DRAFTING})
        roadmap.attempt += 1
        Roadmap.objects.filter(pk=roadmap.pk).update(
            attempt=roadmap.attempt, state=roadmap.state, author=author
        )
        return Taken(
            id=roadmap.pk,
            attempt=roadmap.attempt,
            thread_id=roadmap.thread_id,
            state=roadmap.state,
            brief={
                "goal": roadmap.goal,
                "level": roadmap.level,
                "hours_per_week": roadmap.hours_per_week,
                "weeks": roadmap.weeks,
                "language": roadmap.language or "en",
            },
            outline=outline_of(roadmap),
            written=frozenset(roadmap.concepts.exclude(lesson="").values_list("key", flat=True)),
            feedback=feedback_of(roadmap),
        )


@contextlib.contextmanager
def held(roadmap_id: uuid.UUID, attempt: int) -> Iterator[Roadmap]:
    """A transaction that holds the roadmap's row, for the job whose attempt it is.

    Raises:
        Fenced: it is another's.
    """
    with transaction.atomic():
        found = Roadmap.objects.select_for_update(no_key=True).filter(pk=roadmap_id, attempt=attempt)
        roadmap = found.first()
        if roadmap is None:
            raise Fenced
        yield roadmap


def stepped(roadmap_id: uuid.UUID, attempt: int, step: str) -> None:
    """Tell the watchers how far the draft is."""
    with held(roadmap_id, attempt) as roadmap:
        record(roadmap_id, "status", {"status": roadmap.state, "step": step})


def spent(roadmap_id: uuid.UUID, attempt: int, tokens_in: int, tokens_out: int) -> None:
    """Count what a call to the model took; after an unclear cut it may be counted twice."""
    changed = Roadmap.objects.filter(pk=roadmap_id, attempt=attempt).update(
        tokens_in=F("tokens_in") + tokens_in, tokens_out=F("tokens_out") + tokens_out
    )
    if not changed:
        raise Fenced


def drafted(roadmap_id: uuid.UUID, attempt: int, outline: Mapping[str, Any]) -> None:
    """Store an outline in place of the last one, and wait for its review."""
    with held(roadmap_id, attempt) as roadmap:
        if roadmap.state != State.DRAFTING:
            return  # it is stored already
        roadmap.stages.all().delete()
        concepts: dict[str, Concept] = {}
        needs: list[tuple[str, str]] = []
        for number, stage in enumerate(outline["stages"], 1):
            row = Stage.objects.create(
                roadmap=roadmap, position=number, title=stage["title"], summary=stage["summary"]
            )
            for concept in stage["concepts"]:
                concepts[concept["key"]] = Concept(
                    roadmap=roadmap,
                    stage=row,
                    position=len(concepts) + 1,
                    key=concept["key"],
                    title=concept["title"],
                    summary=concept["summary"],
                    hours=Decimal(str(concept["hours"])),
                )
                needs += [(concept["key"], needed) for needed in concept["prerequisites"]]
        Concept.objects.bulk_create(concepts.values())
        through = Concept.prerequisites.through
        through.objects.bulk_create(
            through(from_concept=concepts[key], to_concept=concepts[needed])
            for key, needed in dict.fromkeys(needs)
        )
        Roadmap.objects.filter(pk=roadmap_id).update(
            state=State.REVIEW, title=outline["title"], summary=outline["summary"]
        )
        record(roadmap_id, "outline", outline)
        record(roadmap_id, "status", {"status": State.REVIEW})


def written(roadmap_id: uuid.UUID, attempt: int, key: str, lesson: Mapping[str, Any]) -> None:
    """Store a lesson where there is none."""
    with held(roadmap_id, attempt) as roadmap:
        changed = roadmap.concepts.filter(key=key, lesson="").update(
            lesson=lesson["markdown"], resources=lesson["resources"], gap="", written_at=Now()
        )
        if changed:
            record(roadmap_id, "lesson", progress(roadmap, key))


def left_out(roadmap_id: uuid.UUID, attempt: int, key: str, reason: str) -> None:
    """Note why a concept has no lesson, where there is neither a lesson nor a reason."""
    with held(roadmap_id, attempt) as roadmap:
        changed = roadmap.concepts.filter(key=key, lesson="", gap="").update(gap=reason[:500])
        if changed:
            record(roadmap_id, "gap", {**progress(roadmap, key), "reason": reason})


def ended(roadmap_id: uuid.UUID, attempt: int, error: str = "") -> None:
    """Mark the end of a run: failed with that error, or else ready as far as its rows are."""
    with held(roadmap_id, attempt) as roadmap:
        if roadmap.state not in AT_WORK:
            return  # it has ended already
        if error:
            state = State.FAILED
        elif roadmap.concepts.filter(lesson="").exists():
            state = State.READY_WITH_GAPS
        else:
            state = State.READY
        Roadmap.objects.filter(pk=roadmap_id).update(state=state, error=error[:500])
        record(roadmap_id, "status", {"status": state, **({"error": error} if error else {})})


def give_up(roadmap_id: uuid.UUID, error: str) -> None:
    """Mark a run as failed that has no job any more; should one be at work all the same, it is fenced off."""
    with transaction.atomic():
        given_up = Roadmap.objects.filter(pk=roadmap_id)
        if given_up.claim(AT_WORK, State.FAILED, attempt=F("attempt") + 1, error=error):
            record(roadmap_id, "status", {"status": State.FAILED, "error": error})


def progress(roadmap: Roadmap, key: str) -> dict[str, Any]:
    """What the watchers need to know of a concept that is done with, and how far all of them are."""
    concept = roadmap.concepts.get(key=key)
    done = roadmap.concepts.filter(~Q(lesson="") | ~Q(gap="")).count()
    return {
        "concept": key,
        "title": concept.title,
        "stage": concept.stage_id,
        "done": done,
        "of": roadmap.concepts.count(),
    }


def outline_of(roadmap: Roadmap) -> dict[str, Any] | None:
    """The outline that the rows hold, as the authors' plain data."""
    stages = list(roadmap.stages.prefetch_related("concepts__prerequisites"))
    if not stages:
        return None
    return {
        "title": roadmap.title,
        "summary": roadmap.summary,
        "stages": [
            {
                "title": stage.title,
                "summary": stage.summary,
                "concepts": [
                    {
                        "key": concept.key,
                        "title": concept.title,
                        "summary": concept.summary,
                        "hours": float(concept.hours),
                        "prerequisites": [needed.key for needed in concept.prerequisites.all()],
                    }
                    for concept in stage.concepts.all()
                ],
            }
            for stage in stages
        ],
    }


def feedback_of(roadmap: Roadmap) -> list[str]:
    """What reviews have asked for; the events keep it."""
    said = roadmap.events.filter(kind="status", data__has_key="feedback").order_by("number")
    return [event.data["feedback"] for event in said]


def was_approved(roadmap_id: uuid.UUID) -> bool:
    """Whether its outline has been approved, so that what is left to do is to write."""
    return Event.objects.filter(roadmap=roadmap_id, kind="status", data__status=State.WRITING).exists()


def forget_gaps(roadmap_id: uuid.UUID) -> None:
    """Let lessons be written where they could not be before."""
    Concept.objects.filter(roadmap=roadmap_id).exclude(gap="").update(gap="")
