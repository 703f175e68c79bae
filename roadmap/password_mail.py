"""The e-mail with which somebody chooses a new password: written and sent by a job of the worker.

The request that asks for it waits for no e-mail server. While the job does, it has neither a thread nor a connection
for the database. There is no link in the job's row: it is made when the e-mail is.
"""

import asyncio
import functools

from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _
from procrastinate import JobContext, RetryStrategy
from procrastinate.contrib.django import app

from roadmap.runs.jobs import BESIDE
from roadmap.server.threads import Threads

AGAIN = RetryStrategy(
    max_attempts=5, exponential_wait=4
)  # after 4, 16, 64, 256 and 1024 s: 23 minutes in all


@app.task(name="password_mail", queue=BESIDE, retry=AGAIN, pass_context=True)
async def send(context: JobContext, person_id: int, site: str, language: str) -> None:
    """Write to a person; `site` is the address under which they asked, and `language` the one in which."""
    threads: Threads = context.additional_context["threads"]
    work = functools.partial(message_to, person_id, site, language)
    message = await threads.do(work, must=True)
    if message is not None:
        await asyncio.to_thread(message.send)


def message_to(person_id: int, site: str, language: str) -> EmailMessage | None:
    """The e-mail, or None for an account that is gone by now."""
    person = User.objects.filter(pk=person_id, is_active=True).first()
    if person is None:
        return None
    with translation.override(language):
        key = urlsafe_base64_encode(force_bytes(person.pk))
        path = reverse("password_reset_confirm", args=[key, default_token_generator.make_token(person)])
        context = {"person": person, "site": site, "link": site.rstrip("/") + path}
        text = render_to_string("accounts/password_reset.txt", context)
        return EmailMessage(_("A new password for Roadmap"), text, to=[person.email])
