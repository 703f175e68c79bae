"""The service's paths, and a usual page: a query and a template behind the shipped middleware."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from roadmap import urls
from tests.load.servers import PAGE
from waitlist.models import Entry


def entries(request: HttpRequest) -> HttpResponse:
    return render(request, "load/entries.html", {"entries": Entry.objects.all()[:20]})


urlpatterns = [path(PAGE.removeprefix("/"), entries), *urls.urlpatterns]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
