"""A roadmap as its readers get it: for the pages, for the API, as Markdown."""

import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import BooleanField, Count, ExpressionWrapper, Prefetch, Q, QuerySet, Sum
from django.urls import reverse
from django.utils.translation import gettext as _

from roadmap.markdown import is_web_address, lowered
from roadmap.models import Concept, Roadmap, State

LINKS = ("events", "review", "cancel", "retry", "export")


def whole(owner: Any, roadmap_id: uuid.UUID) -> Roadmap | None:
    """The roadmap with its stages, concepts and lessons; None for one that is not `owner`'s."""
    return _with(Concept.objects.all(), owner, roadmap_id)


def outlined(owner: Any, roadmap_id: uuid.UUID) -> Roadmap | None:
    """The same for pages: of the lessons only which there are, since all of them may be megabytes."""
    return _with(Concept.objects.defer("lesson"), owner, roadmap_id)


def _with(concepts: QuerySet[Concept], owner: Any, roadmap_id: uuid.UUID) -> Roadmap | None:
    needs = Concept.objects.defer("lesson")
    concepts = concepts.annotate(has_lesson=ExpressionWrapper(~Q(lesson=""), BooleanField()))
    found = Roadmap.objects.owned_by(owner).filter(pk=roadmap_id)
    return found.prefetch_related(
        Prefetch("stages__concepts", concepts), Prefetch("stages__concepts__prerequisites", needs)
    ).first()


def listed(owner: Any) -> QuerySet[Roadmap]:
    """This person's roadmaps, the newest first, each with its numbers of concepts and hours."""
    found = Roadmap.objects.owned_by(owner).annotate(
        concept_count=Count("concepts"),
        written_count=Count("concepts", filter=~Q(concepts__lesson="")),
        learned_count=Count("concepts", filter=Q(concepts__learned_at__isnull=False)),
        hours=Sum("concepts__hours"),
    )
    return found.order_by("-created_at", "pk")


def concepts_of(roadmap: Roadmap) -> list[Concept]:
    """All concepts in their order, numbered from 1 as their pages are."""
    concepts = [concept for stage in roadmap.stages.all() for concept in stage.concepts.all()]
    for number, concept in enumerate(concepts, 1):
        concept.number = number  # type: ignore[attr-defined]
    return concepts


def has_lesson(concept: Concept) -> bool:
    """Without reading it."""
    return bool(concept.has_lesson)  # type: ignore[attr-defined]  # an annotation


def lesson_of(concept: Concept) -> str | None:
    """None where the outline has just been replaced."""
    return Concept.objects.filter(pk=concept.pk).values_list("lesson", flat=True).first()


def links_of(roadmap_id: uuid.UUID) -> dict[str, str]:
    itself = reverse("api_roadmap", args=[roadmap_id])
    paths = {name: "export.md" if name == "export" else name for name in LINKS}
    return {"self": itself, **{name: f"{itself}/{path}" for name, path in paths.items()}}


def as_json(roadmap: Roadmap) -> dict[str, Any]:
    """The roadmap as far as it is; `outline` is null until there is one."""
    concepts = concepts_of(roadmap)
    return {
        "id": str(roadmap.id),
        "status": roadmap.state,
        "error": roadmap.error or None,
        "outline": outline_as_json(roadmap) if concepts else None,
        "lessons": [lesson_as_json(concept) for concept in concepts if concept.lesson or concept.gap],
        "links": links_of(roadmap.id),
    }


def outline_as_json(roadmap: Roadmap) -> dict[str, Any]:
    stages = [
        {
            "title": stage.title,
            "summary": stage.summary,
            "concepts": [
                {
                    "key": concept.key,
                    "title": concept.title,
                    "summary": concept.summary,
                    "hours": float(concept.hours),
                    "prerequisites": [before.key for before in concept.prerequisites.all()],
                }
                for concept in stage.concepts.all()
            ],
        }
        for stage in roadmap.stages.all()
    ]
    return {
        "title": roadmap.title,
        "summary": roadmap.summary,
        "hours": float(hours_of(roadmap)),
        "stages": stages,
    }


def lesson_as_json(concept: Concept) -> dict[str, Any]:
    """A lesson, or the gap in its place: one of `markdown` and `gap` is null."""
    return {
        "concept": concept.key,
        "title": concept.title,
        "markdown": concept.lesson or None,
        "resources": concept.resources,
        "gap": concept.gap or None,
        "learned": concept.learned_at is not None,
    }


def hours_of(roadmap: Roadmap) -> Decimal:
    return sum((concept.hours for concept in concepts_of(roadmap)), Decimal(0))


def as_markdown(roadmap: Roadmap) -> str:
    """The whole roadmap as one document; a lesson's own headings are put below its concept's."""
    return "\n\n".join(_parts(roadmap)) + "\n"


def _parts(roadmap: Roadmap) -> Iterator[str]:
    concepts = concepts_of(roadmap)
    yield f"# {line(roadmap.title or roadmap.goal)}"
    if roadmap.summary:
        yield roadmap.summary
    yield f"{_('Goal')}: {line(roadmap.goal)}"
    if concepts:
        yield f"{_('Hours')}: {number(hours_of(roadmap))}"
    if roadmap.state not in (State.READY, State.READY_WITH_GAPS):
        yield f"*{_('This roadmap is not finished: it is')} {roadmap.get_state_display()}.*"
    for stage in roadmap.stages.all():
        yield f"## {line(stage.title)}"
        if stage.summary:
            yield stage.summary
        for concept in stage.concepts.all():
            yield from _concept_parts(concept)


def _concept_parts(concept: Concept) -> Iterator[str]:
    yield f"### {line(concept.title)}"
    needs = ", ".join(line(before.title) for before in concept.prerequisites.all())
    facts = [f"{_('Hours')}: {number(concept.hours)}"]
    if needs:
        facts.append(f"{_('Needs first')}: {needs}")
    yield " · ".join(facts)
    if concept.summary:
        yield f"*{line(concept.summary)}*"
    if concept.lesson:
        yield lowered(concept.lesson.strip(), 3)
    elif concept.gap:
        yield f"*{_('This lesson could not be written')}: {line(concept.gap)}*"
    links = [
        f"- [{line(one['title'])}](<{one['url']}>)" for one in concept.resources if is_web_address(one["url"])
    ]
    if links:
        yield f"{_('Further reading')}:"
        yield "\n".join(links)


def line(text: str) -> str:
    """A text for within one line of Markdown."""
    return " ".join(text.split())


def number(hours: Decimal) -> str:
    """Hours without needless zeros."""
    return f"{hours.normalize():f}"
