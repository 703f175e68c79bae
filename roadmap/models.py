"""Roadmaps: what somebody wants to learn, the way there, and how far they are.

A roadmap's state is changed by conditional updates only (`claim`), so that of several who want to change it at once
one succeeds. The rows of a run are written by whoever holds its attempt (`roadmap.runs.events`).
"""

import uuid
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


def storable(text: str) -> None:
    """Refuse what PostgreSQL cannot store: NUL, and halves of characters.

    Raises:
        ValidationError
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(_("This text has characters that cannot be stored."))


class State(models.TextChoices):
    """`queued → drafting → review → writing → ready`; from `review` back to `drafting` on revise."""

    QUEUED = "queued", _("queued")
    DRAFTING = "drafting", _("drafting")
    REVIEW = "review", _("waiting for review")
    WRITING = "writing", _("writing")
    READY = "ready", _("ready")
    READY_WITH_GAPS = "ready_with_gaps", _("ready with gaps")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


AT_WORK = (State.QUEUED, State.DRAFTING, State.WRITING)
UNFINISHED = (*AT_WORK, State.REVIEW)
RETRIABLE = (State.FAILED, State.READY_WITH_GAPS)


class RoadmapQuerySet(models.QuerySet["Roadmap"]):
    def owned_by(self, person: Any) -> Self:
        return self.filter(owner=person)

    def at_work(self) -> Self:
        return self.filter(state__in=AT_WORK)

    def unfinished(self) -> Self:
        return self.filter(state__in=UNFINISHED)

    def claim(self, old: tuple[str, ...] | str, new: str, **changes: Any) -> bool:
        """Change one roadmap's state if it is `old`; whether it was, and so is this caller's to go on with."""
        states = (old,) if isinstance(old, str) else old
        return self.filter(state__in=states).update(state=new, updated_at=Now(), **changes) == 1


class Roadmap(models.Model):
    """One person's roadmap.

    Attributes:
        attempt: counts whose it was: the jobs that took it, and the people who decided. Only the last may write.
        generation: counts its LangGraph threads; a retry starts a fresh one from the rows.
        last_event: the number of its newest event.
        losses: its jobs that were lost one after another, with no event in between.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="roadmaps")
    goal = models.CharField(_("goal"), max_length=500, validators=[storable])
    level = models.CharField(_("level"), max_length=100, blank=True, validators=[storable])
    hours_per_week = models.PositiveSmallIntegerField(
        _("hours per week"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(168)]
    )
    weeks = models.PositiveSmallIntegerField(
        _("weeks"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(520)]
    )
    language = models.CharField(_("language"), max_length=35, blank=True, validators=[storable])

    state = models.CharField(_("state"), max_length=16, choices=State, default=State.QUEUED)
    error = models.CharField(_("error"), max_length=500, blank=True)
    author = models.CharField(_("author"), max_length=100, blank=True)
    title = models.CharField(_("title"), max_length=200, blank=True)
    summary = models.TextField(_("summary"), blank=True)
    attempt = models.PositiveIntegerField(default=0)
    generation = models.PositiveIntegerField(default=0)
    last_event = models.PositiveIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(db_default=0, editable=False)
    tokens_in = models.PositiveIntegerField(_("tokens read by the model"), default=0)
    tokens_out = models.PositiveIntegerField(_("tokens written by the model"), default=0)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)

    objects = RoadmapQuerySet.as_manager()

    class Meta:
        verbose_name = _("roadmap")
        verbose_name_plural = _("roadmaps")
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="roadmap_of_owner"),
            models.Index(fields=["state", "updated_at"], name="roadmap_by_state"),
        ]

    def __str__(self) -> str:
        return self.title or self.goal

    @property
    def thread_id(self) -> str:
        """LangGraph's name for the run of this generation."""
        return f"{self.id}:{self.generation}"


class Start(models.Model):
    """That somebody started a roadmap: it counts for their limit, whether or not they have deleted it since."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="starts")
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["owner", "at"], name="start_of_owner")]

    def __str__(self) -> str:
        return f"{self.owner_id} at {self.at}"


class Stage(models.Model):
    """A part of the way, with concepts in it."""

    roadmap = models.ForeignKey(Roadmap, models.CASCADE, related_name="stages")
    position = models.PositiveSmallIntegerField()
    title = models.CharField(_("title"), max_length=200)
    summary = models.TextField(_("summary"), blank=True)

    class Meta:
        verbose_name = _("stage")
        verbose_name_plural = _("stages")
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["roadmap", "position"], name="stage_position")]

    def __str__(self) -> str:
        return self.title


class Concept(models.Model):
    """One thing to learn. What it needs first are other concepts of the roadmap, without a circle.

    Attributes:
        key: its name within the outline, which is how prerequisites refer to it.
        lesson: Markdown; empty until it is written.
        resources: `[{"title", "url"}, …]`.
        gap: why there is no lesson, where writing it failed.
        learned_at: the owner's progress.
    """

    roadmap = models.ForeignKey(Roadmap, models.CASCADE, related_name="concepts")
    stage = models.ForeignKey(Stage, models.CASCADE, related_name="concepts")
    position = models.PositiveSmallIntegerField()
    key = models.CharField(max_length=100)
    title = models.CharField(_("title"), max_length=200)
    summary = models.TextField(_("summary"), blank=True)
    hours = models.DecimalField(_("hours"), max_digits=6, decimal_places=2)
    prerequisites = models.ManyToManyField("self", symmetrical=False, related_name="leads_to", blank=True)
    lesson = models.TextField(_("lesson"), blank=True)
    resources = models.JSONField(_("resources"), default=list, blank=True)
    gap = models.CharField(_("gap"), max_length=500, blank=True)
    written_at = models.DateTimeField(_("written"), null=True, blank=True)
    learned_at = models.DateTimeField(_("learned"), null=True, blank=True)

    class Meta:
        verbose_name = _("concept")
        verbose_name_plural = _("concepts")
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["roadmap", "key"], name="concept_key"),
            models.CheckConstraint(condition=Q(hours__gt=0), name="concept_takes_time"),
            models.CheckConstraint(condition=Q(lesson="") | Q(gap=""), name="concept_lesson_or_gap"),
        ]

    def __str__(self) -> str:
        return self.title


class Event(models.Model):
    """One step of a roadmap, in the order in which its watchers see them; never changed."""

    KINDS = [(kind, kind) for kind in ("status", "outline", "lesson", "gap")]

    roadmap = models.ForeignKey(Roadmap, models.CASCADE, related_name="events")
    number = models.PositiveIntegerField()  # counts up from 1 per roadmap
    kind = models.CharField(max_length=10, choices=KINDS)
    data = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["roadmap", "number"]
        constraints = [models.UniqueConstraint(fields=["roadmap", "number"], name="event_number")]

    def __str__(self) -> str:
        return f"{self.number} {self.kind}"


class Token(models.Model):
    """A bearer token of the API: its digest only, so that whoever reads the table cannot use it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(_("name"), max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)  # SHA-256, in hexadecimal
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
