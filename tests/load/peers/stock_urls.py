"""The waitlist as one would write it on stock Django, with the service's own templates and judgement."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from django.utils.translation import get_language
from django.views.decorators.csrf import csrf_exempt

from tests.load import urls
from waitlist.forms import Invalid, judge
from waitlist.models import Entry


@csrf_exempt  # the form is the service's, which checks where a post comes from instead
def landing(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return render(request, "waitlist/landing.html")
    email, source = request.POST.get("email", ""), request.POST.get("source", "")
    try:
        row = judge(email, source, get_language() or "en")
    except Invalid as error:
        sentence = " ".join(text for texts in error.errors.values() for text in texts)
        content = {"email": email, "source": source, "error": sentence}
        return render(request, "waitlist/landing.html", content, status=422)
    Entry.objects.bulk_create([Entry(**row._asdict())], ignore_conflicts=True)
    return HttpResponseRedirect("/thanks", status=303)


def thanks(request: HttpRequest) -> HttpResponse:
    return render(request, "waitlist/thanks.html")


urlpatterns = [path("", landing), path("thanks", thanks), *urls.urlpatterns]
handler400, handler403 = urls.handler400, urls.handler403
handler404, handler500 = urls.handler404, urls.handler500
