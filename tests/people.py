"""Somebody who may do everything in the admin, and the cookie of their browser."""

import secrets
from typing import TYPE_CHECKING

import httpx

from tests.service import Service, manage

if TYPE_CHECKING:
    from tests.conftest import Database


def sign_in(service: Service, database: "Database") -> str:
    """Make a new member of staff, sign in as they do, and give the `Cookie` header of their session."""
    name, password = f"staff-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    command = ["createsuperuser", "--noinput", f"--username={name}", f"--email={name}@example.com"]
    made = manage(database.url, *command, DJANGO_SUPERUSER_PASSWORD=password)
    if made.returncode:
        raise RuntimeError(made.stderr)
    with httpx.Client(base_url=service.url, timeout=10) as browser:
        browser.get("/admin/login/").raise_for_status()
        form = {"username": name, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answer = browser.post("/admin/login/?next=/admin/", data=form)
        if answer.status_code != 302:
            raise RuntimeError(f"signing in was answered with {answer.status_code}")
        return f"sessionid={browser.cookies['sessionid']}"
