"""Staff's view of roadmaps, their runs and jobs, and of tokens. What changes something goes through the door."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from procrastinate.contrib.django import admin as procrastinate_admin  # noqa: F401  # it registers its own first
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob

from roadmap import history
from roadmap.models import Concept, Roadmap, State, Token
from roadmap.runs import door

AGES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
EVENTS, JOBS = 200, 50  # of a run, that its page shows


class ReadOnly(admin.ModelAdmin):
    """Rows that the machinery owns: to look at."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AgeFilter(admin.SimpleListFilter):
    """How long ago a roadmap was begun."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, Any]]:
        return [
            ("hour", _("under an hour")),
            ("day", _("under a day")),
            ("week", _("under a week")),
            ("older", _("a week and more")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Roadmap]) -> QuerySet[Roadmap]:
        chosen, now = self.value(), timezone.now()
        if chosen in AGES:
            return queryset.filter(created_at__gt=now - AGES[chosen])
        return queryset.filter(created_at__lte=now - AGES["week"]) if chosen == "older" else queryset


@admin.register(Roadmap)
class RoadmapAdmin(ReadOnly):
    list_display = ["__str__", "owner", "state", "age", "updated_at"]
    list_filter = ["state", AgeFilter, "author", ("owner", admin.RelatedOnlyFieldListFilter)]
    list_select_related = ["owner"]
    search_fields = ["title", "goal", "owner__username", "owner__email"]
    search_help_text = _("A title or goal, its owner’s name or address, or a roadmap’s id.")
    show_full_result_count = False
    actions = ["retry", "cancel"]
    fieldsets = [
        (None, {"fields": ["title", "summary", "owner", "state", "error", ("created_at", "updated_at")]}),
        (_("What was asked for"), {"fields": ["goal", "level", ("hours_per_week", "weeks"), "language"]}),
        (
            _("How it was made"),
            {"fields": ["author", ("attempt", "generation", "last_event"), ("tokens_in", "tokens_out")]},
        ),
    ]

    @admin.display(description=_("age"), ordering="-created_at")
    def age(self, roadmap: Roadmap) -> str:
        return timesince(roadmap.created_at, depth=1)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For the actions; no roadmap's fields are edited by hand."""
        return obj is None and admin.ModelAdmin.has_change_permission(self, request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Roadmap], search_term: str
    ) -> tuple[QuerySet[Roadmap], bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def delete_model(self, request: HttpRequest, obj: Roadmap) -> None:
        door.delete(obj.pk, obj.owner)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Roadmap]) -> None:
        for roadmap in queryset:
            door.delete(roadmap.pk, roadmap.owner)

    @admin.action(description=_("Retry what failed"), permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Roadmap]) -> None:
        self._each(request, queryset, door.retry)

    @admin.action(description=_("Cancel"), permissions=["change"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Roadmap]) -> None:
        self._each(request, queryset, door.cancel)

    def _each(self, request: HttpRequest, queryset: QuerySet[Roadmap], act: Any) -> None:
        """Do it to each roadmap, in its owner's name, and say how many took it and why others did not."""
        done = 0
        for roadmap in queryset.select_related("owner"):
            try:
                act(roadmap.pk, roadmap.owner)
            except door.NotFound:
                self._warn(request, roadmap, gettext("It is gone."))
            except door.WrongState as error:
                text = gettext("It is %(state)s, which does not allow this.")
                self._warn(request, roadmap, text % {"state": State(error.state).label})
            except door.LimitReached as error:
                self._warn(request, roadmap, str(error))
            else:
                done += 1
        if done:
            text = ngettext(
                "%(number)d roadmap is on its way.", "%(number)d roadmaps are on their way.", done
            )
            self.message_user(request, text % {"number": done}, messages.SUCCESS)

    def _warn(self, request: HttpRequest, roadmap: Roadmap, reason: str) -> None:
        self.message_user(request, f"{roadmap}: {reason}", messages.WARNING)

    def get_urls(self) -> list[URLPattern]:
        run = self.admin_site.admin_view(self.run)
        return [path("<uuid:roadmap_id>/run/", run, name="roadmap_roadmap_run"), *super().get_urls()]

    def run(self, request: HttpRequest, roadmap_id: UUID) -> HttpResponse:
        """A run's events, errors, jobs and checkpoints."""
        roadmap = Roadmap.objects.select_related("owner").filter(pk=roadmap_id).first()
        if roadmap is None:
            raise Http404
        if not self.has_view_permission(request, roadmap):
            raise PermissionDenied
        jobs = ProcrastinateJob.objects.filter(lock=str(roadmap.pk)).order_by("-id")
        context = {
            **self.admin_site.each_context(request),
            "title": str(roadmap),
            "subtitle": _("run"),
            "opts": self.opts,
            "original": roadmap,
            "events": list(roadmap.events.order_by("-number")[:EVENTS])[::-1],
            "gaps": list(Concept.objects.filter(roadmap=roadmap).exclude(gap="")),
            "jobs": list(jobs[:JOBS]) if request.user.has_perm("procrastinate.view_procrastinatejob") else [],
        }
        try:
            context["steps"] = history.steps(roadmap.thread_id)
        except history.Unreadable as error:
            context["unreadable"] = error
        return TemplateResponse(request, "admin/roadmap/roadmap/run.html", context)


@admin.register(Token)
class TokenAdmin(ReadOnly):
    """Staff can see that there are tokens, and revoke them; nobody can see what they are."""

    list_display = ["name", "owner", "created_at", "last_used_at"]
    list_select_related = ["owner"]
    fields = ["name", "owner", "created_at", "last_used_at"]
    search_fields = ["name", "owner__username"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


class JobEvents(admin.TabularInline):
    model = ProcrastinateEvent
    fields = ["type", "at"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ReadOnly):
    """In place of procrastinate's own, whose styles the policy forbids, and whose actions go past the door."""

    list_display = ["id", "task_name", "status", "lock", "attempts", "scheduled_at"]
    list_filter = ["status", "task_name", "queue_name"]
    search_fields = ["lock", "task_name"]
    show_full_result_count = False
    inlines = [JobEvents]
