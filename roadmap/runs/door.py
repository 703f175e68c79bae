"""What people do with roadmaps: start, review, cancel, retry, delete. Page, API, admin and command come in here.

All of it is sync and through the ORM, on the caller's connection. A roadmap's row, its event and its job are written
in one transaction, and a state is claimed by a conditional update, so that of several who press a button at once
one succeeds.
"""

import uuid
from datetime import timedelta
from typing import Any, Literal

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from roadmap.models import RETRIABLE, UNFINISHED, Roadmap, Start, State, storable
from roadmap.runs import events, jobs
from roadmap.runs.authors.base import UnknownGoal
from roadmap.runs.authors.topics import find, nearest

__all__ = [
    "Invalid",
    "LimitReached",
    "NotFound",
    "UnknownGoal",
    "WrongState",
    "cancel",
    "delete",
    "retry",
    "review",
    "start",
]

DAY = timedelta(days=1)
LATER = 60  # seconds until it is worth asking again whether one of one's roadmaps has ended
LONGEST_FEEDBACK = 2000  # characters


class NotFound(Exception):
    """There is no such roadmap of this person; somebody else's is as if it did not exist."""


class WrongState(Exception):
    """The roadmap is in a state that does not allow it, or somebody was faster.

    Attributes:
        state: the one that it is in.
    """

    def __init__(self, state: str):
        super().__init__(f"The roadmap is {state}.")
        self.state = state


class LimitReached(Exception):
    """This person has as many roadmaps as they may.

    Attributes:
        limit: how many they may have.
        retry_after: seconds until it is worth trying again.
    """

    def __init__(self, sentence: str, limit: int, retry_after: int):
        super().__init__(sentence)
        self.limit = limit
        self.retry_after = retry_after


class Invalid(ValueError):
    """Something that was said cannot be taken.

    Attributes:
        errors: sentences by field.
    """

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__("; ".join(f"{field}: {' '.join(texts)}" for field, texts in errors.items()))
        self.errors = errors


def start(
    owner: Any,
    *,
    goal: str,
    level: str = "",
    hours_per_week: int | None = None,
    weeks: int | None = None,
    language: str = "",
) -> Roadmap:
    """Queue a new roadmap.

    Raises:
        Invalid: a field is missing, too long or out of range.
        LimitReached: `ROADMAPS_PER_DAY` or `ROADMAPS_AT_ONCE`.
        UnknownGoal: no model is set, and the catalogue does not know the goal.
    """
    roadmap = Roadmap(
        owner=owner,
        goal=goal.strip(),
        level=level.strip(),
        hours_per_week=hours_per_week,
        weeks=weeks,
        language=language.strip(),
    )
    try:
        roadmap.clean_fields()
    except ValidationError as error:
        raise Invalid(error.message_dict) from None
    if not settings.LLM_MODEL and find(roadmap.goal) is None:
        raise UnknownGoal(roadmap.goal, nearest(roadmap.goal))
    with transaction.atomic():
        take_turns(owner)
        refuse_past_the_day(owner)
        refuse_at_once(owner)
        roadmap.save(force_insert=True)
        Start.objects.create(owner=owner)
        events.record(roadmap.pk, "status", {"status": State.QUEUED})
        jobs.queue(roadmap.pk)
    return roadmap


def review(
    roadmap_id: uuid.UUID, owner: Any, decision: Literal["approve", "revise"], feedback: str = ""
) -> None:
    """Approve an outline that waits for review, or have it changed.

    Raises:
        NotFound, WrongState.
        Invalid: an unknown decision, or a revise without feedback.
    """
    feedback = feedback.strip()
    judge(decision, feedback)
    new = State.WRITING if decision == "approve" else State.DRAFTING
    said = {"feedback": feedback} if decision == "revise" else {}
    with transaction.atomic():
        claim(roadmap_id, owner, (State.REVIEW,), new)
        events.record(roadmap_id, "status", {"status": new, **said})
        jobs.queue(roadmap_id)


def cancel(roadmap_id: uuid.UUID, owner: Any) -> None:
    """End an unfinished roadmap; what has been written stays.

    Raises:
        NotFound, WrongState.
    """
    with transaction.atomic():
        claim(roadmap_id, owner, UNFINISHED, State.CANCELLED)
        events.record(roadmap_id, "status", {"status": State.CANCELLED})
        jobs.abort(roadmap_id)
        jobs.queue_pruning()


def retry(roadmap_id: uuid.UUID, owner: Any) -> None:
    """Go on with a roadmap that failed, or write what is missing of one with gaps.

    Raises:
        NotFound, WrongState.
        LimitReached: `ROADMAPS_AT_ONCE`.
    """
    with transaction.atomic():
        take_turns(owner)
        was_approved = events.was_approved(roadmap_id)
        new = State.WRITING if was_approved else State.DRAFTING
        claim(roadmap_id, owner, RETRIABLE, new, generation=F("generation") + 1, error="")
        refuse_at_once(owner, besides=roadmap_id)
        events.forget_gaps(roadmap_id)
        events.record(roadmap_id, "status", {"status": new})
        jobs.queue(roadmap_id)


def delete(roadmap_id: uuid.UUID, owner: Any) -> None:
    """Delete a roadmap in any state, with everything that belongs to it.

    Raises:
        NotFound.
    """
    with transaction.atomic():
        # The row first, as everybody locks it first.
        if not Roadmap.objects.owned_by(owner).select_for_update().filter(pk=roadmap_id).exists():
            raise NotFound
        jobs.abort(roadmap_id)
        Roadmap.objects.get(pk=roadmap_id).delete()
        jobs.queue_pruning()


def judge(decision: str, feedback: str) -> None:
    """Raises Invalid: this is no answer to an outline."""
    if decision not in ("approve", "revise"):
        raise Invalid({"decision": [_("It must be approve or revise.")]})
    if decision == "revise" and not feedback:
        raise Invalid({"feedback": [_("Please say what to change.")]})
    if len(feedback) > LONGEST_FEEDBACK:
        raise Invalid({"feedback": [_("At most %(most)d characters.") % {"most": LONGEST_FEEDBACK}]})
    try:
        storable(feedback)
    except ValidationError as error:
        raise Invalid({"feedback": error.messages}) from None


def claim(roadmap_id: uuid.UUID, owner: Any, old: tuple[str, ...], new: str, **changes: Any) -> None:
    """Change the state, if it is one of `old` and nobody was faster.

    A job that may still be at work is fenced off by it: what it repeats after an unclear cut must not come later.

    Raises:
        NotFound, WrongState.
    """
    mine = Roadmap.objects.owned_by(owner).filter(pk=roadmap_id)
    if not mine.claim(old, new, attempt=F("attempt") + 1, **changes):
        state = mine.values_list("state", flat=True).first()
        raise NotFound if state is None else WrongState(state)


def take_turns(owner: Any) -> None:
    """Let nobody else in who counts this person's roadmaps, until the transaction ends."""
    get_user_model().objects.select_for_update(no_key=True).get(pk=owner.pk)


def refuse_past_the_day(owner: Any) -> None:
    """Raises LimitReached: this person has started `ROADMAPS_PER_DAY` within the last 24 hours."""
    limit = settings.ROADMAPS_PER_DAY
    starts = Start.objects.filter(owner=owner, at__gt=timezone.now() - DAY).order_by("-at")
    # The one that has to pass out of the day for there to be room for another.
    oldest = starts.values_list("at", flat=True)[limit - 1 : limit].first()
    if oldest is not None:
        wait = max(1, round((oldest + DAY - timezone.now()).total_seconds()))
        sentence = _("You can start %(limit)d roadmaps in 24 hours.") % {"limit": limit}
        raise LimitReached(sentence, limit, wait)


def refuse_at_once(owner: Any, besides: uuid.UUID | None = None) -> None:
    """Raises LimitReached: this person has `ROADMAPS_AT_ONCE` that are not finished."""
    limit = settings.ROADMAPS_AT_ONCE
    unfinished = Roadmap.objects.owned_by(owner).unfinished()
    if unfinished.exclude(pk=besides or uuid.UUID(int=0)).count() >= limit:
        sentence = _("You can have %(limit)d unfinished roadmaps at once.") % {"limit": limit}
        raise LimitReached(sentence, limit, LATER)
