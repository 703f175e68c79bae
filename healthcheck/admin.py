"""A page for staff: the plan, what is open, the budget and the findings. Nothing on it can be changed."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from healthcheck import report
from healthcheck.models import Connection
from healthcheck.rows import connection_rows


@admin.register(Connection)
class ConnectionAdmin(admin.ModelAdmin):
    """Shown in the index to whoever has the permission `healthcheck.view_connection`."""

    def get_urls(self) -> list[URLPattern]:
        """The list only: there is no row to look at."""
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="healthcheck_connection_changelist")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        with connection.cursor() as cursor:
            look = report.of_cursor(cursor)
        context = {
            **self.admin_site.each_context(request),
            "title": "Connections",
            "opts": self.opts,
            "report": look,
            "rows": list(connection_rows(look)),
        }
        return TemplateResponse(request, "healthcheck/connections.html", context)
