"""The paths that Django answers; `roadmap.asgi` answers the others before they come here."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]

handler400 = "roadmap.errors.bad_request"
handler403 = "roadmap.errors.forbidden"
handler404 = "roadmap.errors.not_found"
handler500 = "roadmap.errors.server_error"
