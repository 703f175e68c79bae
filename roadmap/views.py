"""The pages of roadmaps, for the signed-in. What changes something goes through `roadmap.runs.door`."""

import functools
import uuid
from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import is_valid_path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from roadmap import reading
from roadmap.drawing import draw
from roadmap.forms import BriefForm, ReviewForm
from roadmap.markdown import is_web_address, to_html
from roadmap.models import AT_WORK, UNFINISHED, Concept, Roadmap, State
from roadmap.runs import door
from roadmap.runs.authors.topics import topics

View = Callable[..., HttpResponse]

STEPS = {
    "understand": _lazy("Understanding your goal"),
    "outline": _lazy("Drafting stages and concepts"),
    "check": _lazy("Checking that it all fits together"),
    "review": _lazy("Your review"),
}
PER_PAGE = 50  # of one's roadmaps
SAME_STEP = {"repair": "outline", "revise": "outline"}  # for who watches


def page(view: View) -> View:
    """A page for whoever is signed in; what is somebody else's does not exist, and nobody may keep a copy."""
    return for_the_signed_in(view, HttpRequest.get_full_path)


def button(view: View) -> View:
    """What a button on a page does, for whoever is signed in; else one signs in and is back on the page."""
    return for_the_signed_in(require_POST(view), page_above)


def for_the_signed_in(view: View, next_page: Callable[[HttpRequest], str]) -> View:
    @never_cache
    @functools.wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(next_page(request))
        try:
            return view(request, *args, **kwargs)
        except door.NotFound:
            raise Http404 from None

    return checked


def page_above(request: HttpRequest) -> str:
    """The path of the nearest page above a button's."""
    path = request.path
    while not is_valid_path(path := path.rstrip("/").rpartition("/")[0] + "/"):
        pass
    return path


def own(request: HttpRequest, roadmap_id: uuid.UUID) -> Roadmap:
    return there(reading.outlined(request.user, roadmap_id))


def there(roadmap: Roadmap | None) -> Roadmap:
    if roadmap is None:
        raise Http404
    return roadmap


@page
@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    roadmaps = Paginator(reading.listed(request.user), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "roadmap/mine.html", {"roadmaps": roadmaps, "section": "roadmaps"})


@page
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    form = BriefForm(request.POST or None, initial={"goal": request.GET.get("goal", "")})
    if not settings.LLM_MODEL:
        del form.fields["language"]  # the catalogue has one
    status, nearest = 200, []
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                roadmap = door.start(cast(User, request.user), **form.cleaned_data)
            except door.UnknownGoal as error:
                nearest = error.nearest
            except door.LimitReached as error:
                status = 429
                form.add_error(None, str(error))
            except door.Invalid as error:
                form.add_error(None, error.errors)
            else:
                return redirect("roadmap", roadmap.id)
    context = {"form": form, "nearest": nearest, "section": "roadmaps", "topics": catalogue()}
    return render(request, "roadmap/new.html", context, status=status)


def catalogue() -> list[str]:
    """The topics of the built-in catalogue, if roadmaps come from it."""
    return [] if settings.LLM_MODEL else [topic.outline.title for topic in topics().values()]


@page
@require_safe
def one(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    """Live while it is worked on, the review, or the reading: whatever the roadmap's state asks for."""
    return show(request, own(request, roadmap_id))


def show(
    request: HttpRequest, roadmap: Roadmap, form: ReviewForm | None = None, status: int = 200
) -> HttpResponse:
    concepts = reading.concepts_of(roadmap)
    done = [concept for concept in concepts if reading.has_lesson(concept) or concept.gap]
    context = {
        "roadmap": roadmap,
        "concepts": concepts,
        "drawing": draw(roadmap.stages.all()) if concepts else None,
        "hours": reading.hours_of(roadmap),
        "done": len(done),
        "left": len(concepts) - len(done),
        "learned": sum(concept.learned_at is not None for concept in concepts),
        "gaps": [concept for concept in concepts if concept.gap],
        "can_cancel": roadmap.state in UNFINISHED,
        "links": reading.links_of(roadmap.id),
    }
    mark_stages(roadmap)
    if roadmap.state in AT_WORK:
        context["steps"] = steps = steps_of(roadmap)
        context["steps_done"] = sum(place == "done" for _name, _label, place in steps)
        return render(request, "roadmap/live.html", context, status=status)
    if roadmap.state == State.REVIEW:
        context["form"] = form or ReviewForm()
        return render(request, "roadmap/review.html", context, status=status)
    if roadmap.state in (State.READY, State.READY_WITH_GAPS):
        context["next"] = next(
            (one for one in concepts if reading.has_lesson(one) and not one.learned_at), None
        )
        return render(request, "roadmap/reading.html", context, status=status)
    return render(request, "roadmap/ended.html", context, status=status)


def mark_stages(roadmap: Roadmap) -> None:
    """Which stages are done, and which one is next: in writing, or later in learning."""
    is_written = roadmap.state in (State.READY, State.READY_WITH_GAPS)
    is_next = True
    for stage in roadmap.stages.all():
        done = [
            bool(c.learned_at if is_written else reading.has_lesson(c) or c.gap) for c in stage.concepts.all()
        ]
        stage.is_done = all(done)  # type: ignore[attr-defined]
        stage.is_now = is_next and not all(done)  # type: ignore[attr-defined]
        is_next = is_next and all(done)


def steps_of(roadmap: Roadmap) -> list[tuple[str, str, str]]:
    """Name, label and place (done, now, to come) of the steps up to the review; events tell of those that are done."""
    said = roadmap.events.filter(kind="status").order_by("-number").first()
    step = said.data.get("step") if said else None
    names = list(STEPS)
    if roadmap.state == State.QUEUED:
        now = -1
    elif step is None:
        now = names.index("outline") if roadmap.title else 0
    else:
        now = names.index(SAME_STEP.get(step, step)) + 1
    places = ["done" if index < now else "now" if index == now else "" for index in range(len(names))]
    return [(name, str(STEPS[name]), place) for name, place in zip(names, places, strict=True)]


@button
def review(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    form = ReviewForm(request.POST)
    try:
        if form.is_valid():
            said = form.cleaned_data
            door.review(roadmap_id, request.user, said["decision"], said["feedback"])
    except door.Invalid as error:
        form.add_error(None, error.errors)
    except door.WrongState as error:
        return to_state(request, roadmap_id, error.state)
    if form.is_valid():
        return redirect("roadmap", roadmap_id)
    roadmap = own(request, roadmap_id)
    if roadmap.state != State.REVIEW:
        return to_state(request, roadmap_id, roadmap.state)
    return show(request, roadmap, form, 422)


@button
def cancel(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    try:
        door.cancel(roadmap_id, request.user)
    except door.WrongState as error:
        return to_state(request, roadmap_id, error.state)
    return redirect("roadmap", roadmap_id)


@button
def retry(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    try:
        door.retry(roadmap_id, request.user)
    except door.WrongState as error:
        return to_state(request, roadmap_id, error.state)
    except door.LimitReached as error:
        messages.error(request, str(error))
    return redirect("roadmap", roadmap_id)


def to_state(request: HttpRequest, roadmap_id: uuid.UUID, state: str) -> HttpResponseRedirect:
    """Back to the roadmap, with the reason why a button did nothing: somebody or something was faster."""
    text = _("Nothing was changed, because the roadmap has moved on meanwhile: it is %(state)s.")
    messages.warning(request, text % {"state": State(state).label})
    return redirect("roadmap", roadmap_id)


@page
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    if request.method != "POST":
        roadmap = there(Roadmap.objects.owned_by(request.user).filter(pk=roadmap_id).first())
        return render(request, "roadmap/delete.html", {"roadmap": roadmap})
    door.delete(roadmap_id, request.user)
    messages.success(request, _("The roadmap is deleted."))
    return redirect("roadmaps")


@page
@require_safe
def export(request: HttpRequest, roadmap_id: uuid.UUID) -> HttpResponse:
    return markdown_file(there(reading.whole(request.user, roadmap_id)))


def markdown_file(roadmap: Roadmap) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="roadmap-{roadmap.id}.md"'}
    content_type = "text/markdown; charset=utf-8"
    return HttpResponse(reading.as_markdown(roadmap), content_type=content_type, headers=headers)


@page
@require_safe
def lesson(request: HttpRequest, roadmap_id: uuid.UUID, number: int) -> HttpResponse:
    roadmap = own(request, roadmap_id)
    concepts = reading.concepts_of(roadmap)
    if not 1 <= number <= len(concepts):
        raise Http404
    concept = concepts[number - 1]
    text = reading.lesson_of(concept)
    if text is None:
        raise Http404
    numbers = {other.pk: other for other in concepts}
    context = {
        "roadmap": roadmap,
        "concept": concept,
        "count": len(concepts),
        "text": to_html(text),
        "resources": [one for one in concept.resources if is_web_address(one["url"])],
        "needs": [numbers[before.pk] for before in concept.prerequisites.all()],
        "leads_to": [other for other in concepts if concept in other.prerequisites.all()],
        "before": concepts[number - 2] if number > 1 else None,
        "after": concepts[number] if number < len(concepts) else None,
    }
    return render(request, "roadmap/lesson.html", context)


@button
def learned(request: HttpRequest, roadmap_id: uuid.UUID, number: int) -> HttpResponse:
    """Note that a lesson is learned, or with `learned=0` that it is not; then on to the next one."""
    concepts = reading.concepts_of(own(request, roadmap_id))
    if not 1 <= number <= len(concepts) or not reading.has_lesson(concepts[number - 1]):
        raise Http404
    is_learned = request.POST.get("learned") != "0"
    of_this = Concept.objects.filter(pk=concepts[number - 1].pk)
    of_this.update(learned_at=Now() if is_learned else None)
    if is_learned and number < len(concepts):
        return redirect("lesson", roadmap_id, number + 1)
    if is_learned:
        return redirect("roadmap", roadmap_id)
    return redirect("lesson", roadmap_id, number)
