"""What people do with roadmaps: start, review, cancel, retry, delete. Page, API, admin and command come in here.

All of it is sync and through the ORM, on the caller's connection. A roadmap's row, its event and its job are written
in one transaction, and a state is claimed by a conditional update, so that of several who press a button at once
one succeeds.
"""

import uuid
from typing import Any, Literal

from roadmap.models import Roadmap


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


class UnknownGoal(Exception):
    """No model is set, and the built-in catalogue does not know the goal.

    Attributes:
        nearest: the topics that come closest, as the catalogue names them.
    """

    def __init__(self, nearest: list[str]):
        super().__init__("The built-in catalogue does not know this goal.")
        self.nearest = nearest


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
    raise NotImplementedError


def review(
    roadmap_id: uuid.UUID, owner: Any, decision: Literal["approve", "revise"], feedback: str = ""
) -> None:
    """Approve an outline that waits for review, or have it changed.

    Raises:
        NotFound, WrongState.
        Invalid: an unknown decision, or a revise without feedback.
    """
    raise NotImplementedError


def cancel(roadmap_id: uuid.UUID, owner: Any) -> None:
    """End an unfinished roadmap; what has been written stays.

    Raises:
        NotFound, WrongState.
    """
    raise NotImplementedError


def retry(roadmap_id: uuid.UUID, owner: Any) -> None:
    """Go on with a roadmap that failed, or write what is missing of one with gaps.

    Raises:
        NotFound, WrongState.
        LimitReached: `ROADMAPS_AT_ONCE`.
    """
    raise NotImplementedError


def delete(roadmap_id: uuid.UUID, owner: Any) -> None:
    """Delete a roadmap in any state, with everything that belongs to it.

    Raises:
        NotFound.
    """
    raise NotImplementedError
