"""Staff's view of the waitlist: find, filter, invite, export, and add by hand."""

import contextlib
import logging
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from waitlist.addresses import BadAddress, BadSource, clean_source, normalise
from waitlist.export import csv_lines
from waitlist.models import Entry

logger = logging.getLogger(__name__)

SOURCES_SHOWN = 25


class EntryForm(forms.ModelForm):
    """An entry made or corrected by hand: judged as the visitor's own would be."""

    class Meta:
        model = Entry
        fields = ["email", "source", "language", "invited_at"]

    def clean_email(self) -> str:
        typed: str = self.cleaned_data["email"]
        try:
            normalised = normalise(typed)
        except BadAddress as error:
            raise forms.ValidationError(str(error)) from error
        if Entry.objects.filter(normalised=normalised).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(_("This address is on the list already."))
        self.instance.normalised = normalised
        return typed.strip()

    def clean_source(self) -> str:
        try:
            return clean_source(self.cleaned_data["source"])
        except BadSource as error:
            raise forms.ValidationError(str(error)) from error


class SourceFilter(admin.SimpleListFilter):
    """The sources that brought most people. Visitors name them, so there may be any number of others."""

    title = _("source")
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        by_size = Entry.objects.values("source").annotate(people=Count("pk")).order_by("-people", "source")
        sources = [row["source"] for row in by_size[:SOURCES_SHOWN]]
        chosen = self.value()
        if chosen is not None and chosen not in sources:
            sources.append(chosen)
        return [(source, source or gettext("none")) for source in sources]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Entry]) -> QuerySet[Entry]:
        chosen = self.value()
        if chosen is None:
            return queryset
        try:
            return queryset.filter(source=clean_source(chosen))
        except BadSource:
            return queryset.none()


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    """Lists never count the whole table, and the export never holds it."""

    form = EntryForm
    fields = ["email", "normalised", "source", "language", "joined_at", "invited_at"]
    readonly_fields = ["normalised", "joined_at"]
    list_display = ["email", "source", "language", "joined_at", "invited_at"]
    list_filter = ["joined_at", ("invited_at", admin.EmptyFieldListFilter), SourceFilter]
    search_fields = ["normalised", "email"]
    search_help_text = _("An address in any spelling, or a part of one.")
    date_hierarchy = "joined_at"
    actions = ["mark_as_invited", "export_selected"]
    show_full_result_count = False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Entry], search_term: str
    ) -> tuple[QuerySet[Entry], bool]:
        """A whole address is looked up by its normalised form, whichever way it is spelled."""
        with contextlib.suppress(BadAddress):
            found = queryset.filter(normalised=normalise(search_term))
            if found.exists():
                return found, False
        return super().get_search_results(request, queryset, search_term)

    def get_urls(self) -> list[URLPattern]:
        export = path("export/", self.admin_site.admin_view(self.export), name="waitlist_entry_export")
        return [export, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        export_url = reverse("admin:waitlist_entry_export", query=request.GET)
        return super().changelist_view(request, {**(extra_context or {}), "export_url": export_url})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except IntegrityError:
            # Somebody joined with this address between the form's look at the list and its save.
            self.message_user(request, _("This address is on the list already."), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    @admin.action(description=_("Mark as invited"), permissions=["change"])
    def mark_as_invited(self, request: HttpRequest, queryset: QuerySet[Entry]) -> None:
        marked = queryset.filter(invited_at=None).update(invited_at=Now())
        self.message_user(
            request,
            ngettext(
                "%(number)d person is marked as invited.", "%(number)d people are marked as invited.", marked
            )
            % {"number": marked},
            messages.SUCCESS,
        )

    @admin.action(description=_("Export as CSV"), permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Entry]) -> StreamingHttpResponse:
        return self._csv_response(request, queryset)

    def export(self, request: HttpRequest) -> StreamingHttpResponse:
        """Everybody on the list that the filters and the search leave, as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._csv_response(request, self.get_changelist_instance(request).get_queryset(request))

    def _csv_response(self, request: HttpRequest, entries: QuerySet[Entry]) -> StreamingHttpResponse:
        logger.info("%s exports the waitlist", request.user.get_username())
        name = timezone.now().strftime("waitlist-%Y-%m-%dT%H%MZ.csv")
        return StreamingHttpResponse(
            csv_lines(entries),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )
