"""/accounts/: sign in and out, a new password, and tokens; Django's own views in our templates.

Guessing passwords is slowed down by address, in memory: saying no costs no connection.
"""

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth import views
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.models import User
from django.core.mail import mailers
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from roadmap import password_mail
from roadmap.accounts import make_token
from roadmap.forms import TokenForm
from roadmap.models import Token
from roadmap.views import button, page
from waitlist.limits import Limiter, Rate

TRIES = Rate(20, 0.2)  # from one address: 20 at once, then one every 5 seconds
MOST_TOKENS = 20  # of one person

_limiter, _one_at_a_time = Limiter(TRIES), threading.Lock()


def limited[**P](view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """A view whose POST tries a password, or sends an e-mail: only so often from one address."""

    @functools.wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        request = cast(HttpRequest, args[0])
        if request.method == "POST":
            with _one_at_a_time:
                wait = _limiter.wait(request.META.get("REMOTE_ADDR", ""))
            if wait:
                response = render(request, "429.html", status=429)
                response["Retry-After"] = str(math.ceil(wait))
                return response
        return view(*args, **kwargs)

    return checked


class SignIn(views.LoginView):
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True


class PasswordChange(views.PasswordChangeView):
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, _("Your password is changed."))
        return super().form_valid(form)


class ResetForm(PasswordResetForm):
    def save(self, *args: Any, **options: Any) -> None:
        """Have the worker write to whoever has this address; the answer says nothing of whether somebody has."""
        site, language = options["request"].build_absolute_uri("/"), get_language()
        for person in self.get_users(self.cleaned_data["email"]):
            password_mail.send.defer(person_id=person.pk, site=site, language=language)


class PasswordReset(views.PasswordResetView):
    template_name = "accounts/password_reset.html"
    form_class = ResetForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "default" not in mailers:
            return render(request, "accounts/no_mail.html")
        return super().dispatch(request, *args, **kwargs)


class PasswordResetSent(views.PasswordResetDoneView):
    template_name = "accounts/password_reset_sent.html"


class PasswordResetConfirm(views.PasswordResetConfirmView):
    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        messages.success(self.request, _("Your password is changed. Sign in with the new one."))
        return super().form_valid(form)


@page
@sensitive_variables("secret")
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """One's account, and the tokens of the API. A new one is in the answer to the form, and nowhere else."""
    person = cast(User, request.user)
    tokens = Token.objects.filter(owner=person)
    form, secret, status = TokenForm(request.POST or None), None, 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            if tokens.count() < MOST_TOKENS:
                secret, status = make_token(person, form.cleaned_data["name"]), 201
                form = TokenForm()
            else:
                text = gettext("You have %(number)d tokens, which is the most; revoke one first.")
                form.add_error(None, text % {"number": MOST_TOKENS})
    context = {"form": form, "secret": secret, "tokens": tokens}
    return render(request, "accounts/account.html", context, status=status)


@button
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    deleted, _by_model = Token.objects.filter(owner=cast(User, request.user), pk=token_id).delete()
    if not deleted:
        raise Http404
    messages.success(request, gettext("The token is revoked: from now on it is refused."))
    return redirect("account")
