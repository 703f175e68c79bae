"""The waitlist's paths as an ordinary Django project would have them; `csrf_protect` is in the middleware."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.translation import get_language
from django.views.decorators.http import etag, require_http_methods

from roadmap.urls import *  # noqa: F403
from roadmap.urls import urlpatterns as pages

ETAG = 'W/"reference"'


@require_http_methods(["GET", "HEAD", "POST"])
@etag(lambda request: ETAG if request.method != "POST" else None)
def landing(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        request.POST.get("email")
        return HttpResponseRedirect("/thanks")
    return HttpResponse("landing", headers={"Content-Language": get_language()})


@require_http_methods(["GET", "HEAD"])
def thanks(request: HttpRequest) -> HttpResponse:
    return HttpResponse("thanks", headers={"Content-Language": get_language()})


@require_http_methods(["POST", "OPTIONS"])
def join(request: HttpRequest) -> HttpResponse:
    request.body  # noqa: B018  # Django judges its length when it is asked for
    return HttpResponse(status=202)


urlpatterns = [
    path("reference/", landing),
    path("reference/thanks", thanks),
    path("reference/api/v1/waitlist", join),
    *pages,
]
