"""Roadmaps as a run leaves them in the tables, made without one."""

from typing import Any

from roadmap.models import Concept, Roadmap, Stage, State

LESSON = """\
# Why

See [the manual](https://www.postgresql.org/docs/) and ![a picture](https://example.com/p.png).

| setting | value |
|:--------|------:|
| a       |     1 |

<script>alert(1)</script>
"""
OUTLINE = [
    ("First steps", [("tables", "Tables and types", []), ("queries", "How a query runs", ["tables"])]),
    (
        "Making it fast",
        [("indexes", "Indexes", ["queries"]), ("plans", "Reading a plan", ["indexes", "queries", "tables"])],
    ),
]


def roadmap_of(
    owner: Any, state: str = State.READY, *, lessons: int = 4, gaps: int = 0, **fields: Any
) -> Roadmap:
    """A roadmap of four concepts in two stages; the first ones have lessons, the next ones gaps."""
    roadmap = Roadmap.objects.create(
        owner=owner,
        goal="run a database",
        state=state,
        title="Running a database",
        summary="From the first table to a plan.",
        author="catalogue",
        **fields,
    )
    made: dict[str, Concept] = {}
    for number, (title, concepts) in enumerate(OUTLINE, 1):
        stage = Stage.objects.create(roadmap=roadmap, position=number, title=title, summary=f"{title}.")
        for key, name, needs in concepts:
            place = len(made)
            made[key] = Concept.objects.create(
                roadmap=roadmap,
                stage=stage,
                position=place + 1,
                key=key,
                title=name,
                summary=f"You know {name.lower()}.",
                hours="2.5",
                lesson=LESSON if place < lessons else "",
                gap="The model gave up." if lessons <= place < lessons + gaps else "",
                resources=[
                    {"title": "The manual", "url": "https://www.postgresql.org/docs/"},
                    {"title": "A trap", "url": "javascript:alert(1)"},
                ],
            )
            made[key].prerequisites.set([made[needed] for needed in needs])
    return roadmap
