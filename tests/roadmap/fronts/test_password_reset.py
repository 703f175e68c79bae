"""A forgotten password: the e-mail, its link, and a mail server that hangs and holds nothing up."""

import re
import time
from collections.abc import Callable, Iterator
from email import message_from_string, policy

import httpx
import pytest

from tests.conftest import Database
from tests.fake_openai_process import fake_openai_process
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import Service, manage, query, wait_until
from tests.smtp import SmtpServer

RESET = "/accounts/password/reset/"


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.fixture
def anna(database: Database) -> str:
    arguments = ["--noinput", "--username=anna", "--email=anna@example.com"]
    made = manage(database.url, "createsuperuser", *arguments, DJANGO_SUPERUSER_PASSWORD="wander-weg-7")
    assert made.returncode == 0, made.stderr
    return "anna"


@pytest.fixture
def variables(smtp: SmtpServer) -> dict[str, str]:
    """Web and worker have the same key: one makes the link, the other takes it."""
    return {"EMAIL_URL": smtp.url, "SECRET_KEY": "the same key for both of them, and long enough"}


@pytest.fixture
def worker(start: Callable[..., Service], database: Database, variables: dict[str, str]) -> Service:
    return start("worker", database, **variables)


@pytest.fixture
def site(
    start: Callable[..., Service], database: Database, worker: Service, variables: dict[str, str], anna: str
) -> Service:
    return start("web", database, **variables)


def browser(site: Service, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=site.url, headers=headers, timeout=10)


def held_by(service: Service) -> tuple[int, int]:
    """Its ORM connections in use, and its busy threads."""
    health = service.health()
    return health["pools"]["orm"]["used"], health["threads"]["busy"]


def post(visitor: httpx.Client, path: str, **fields: str) -> httpx.Response:
    visitor.get(path).raise_for_status()
    return visitor.post(path, data={**fields, "csrfmiddlewaretoken": visitor.cookies["csrftoken"]})


def text_of(message: str) -> str:
    body = message_from_string(message, policy=policy.default).get_body()
    assert body is not None
    return str(body.get_content())


def test_the_link_of_the_e_mail_sets_a_new_password_once(site: Service, smtp: SmtpServer) -> None:
    with browser(site, **{"Accept-Language": "de"}) as visitor:
        asked = post(visitor, RESET, email="anna@example.com")
        assert (asked.status_code, asked.headers["location"]) == (302, f"{RESET}sent/")
        wait_until(lambda: smtp.messages, 20, "an e-mail")
        (message,) = smtp.messages
        assert "Guten Tag anna" in text_of(message)
        assert message_from_string(message)["To"] == "anna@example.com"
        assert message_from_string(message)["From"] == "roadmap@example.com"
        (link,) = re.findall(rf"{re.escape(site.url)}(/\S+/\S+)", text_of(message))

        form = visitor.get(link).headers["location"]
        password = {"new_password1": "berg-tal-99", "new_password2": "berg-tal-99"}
        assert post(visitor, form, **password).headers["location"] == "/accounts/login/"
        signed_in = post(visitor, "/accounts/login/", username="anna", password="berg-tal-99")
        assert signed_in.headers["location"] == "/roadmaps/"
    with browser(site) as another:
        assert "does not work any more" in another.get(link).text


def test_an_unknown_address_gets_the_same_answer_and_no_e_mail(
    site: Service, smtp: SmtpServer, database: Database
) -> None:
    with browser(site) as visitor:
        unknown = post(visitor, RESET, email="nobody@example.com")
        known = post(visitor, RESET, email="ANNA@example.com")
    assert (unknown.status_code, unknown.headers["location"]) == (
        known.status_code,
        known.headers["location"],
    )
    wait_until(lambda: smtp.messages, 20, "the e-mail of the known one")
    assert query(
        database.url, "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'password_mail'"
    ) == [(1,)]


def test_while_the_mail_server_hangs_nothing_is_held(
    site: Service, worker: Service, smtp: SmtpServer, database: Database
) -> None:
    smtp.stalled.set()
    before = held_by(worker)[0]
    with browser(site) as visitor:
        began = time.monotonic()
        assert post(visitor, RESET, email="anna@example.com").status_code == 302
        assert time.monotonic() - began < 2
        assert smtp.connected.acquire(timeout=20)
        assert visitor.get("/accounts/login/").status_code == 200
    busy = (
        "SELECT application_name, state, query FROM pg_stat_activity WHERE datname = %s"
        " AND application_name LIKE 'roadmap_agent/%%' AND (state <> 'idle' OR xact_start IS NOT NULL)"
    )
    held = query(database.superuser_url, busy, database.name)
    assert [row for row in held if row[0].endswith("/orm")] == []
    # At once, but for what else goes on; e-mail that held something would hold it until its timeout of 10 s.
    wait_until(lambda: held_by(site) == (0, 0), 5, "the web holds nothing")
    wait_until(lambda: held_by(worker) in ((before, 0), (0, 0)), 5, "the worker holds no more than before")
    assert smtp.messages == []
    smtp.go_on()
    wait_until(lambda: smtp.messages, 20, "the e-mail once the server goes on")


def test_an_e_mail_that_cannot_be_sent_is_tried_again(
    start: Callable[..., Service], database: Database, anna: str
) -> None:
    with SmtpServer() as smtp:
        url = smtp.url
    variables = {"EMAIL_URL": url, "SECRET_KEY": "the same key for both of them, and long enough"}
    start("worker", database, **variables)
    with browser(start("web", database, **variables)) as visitor:
        post(visitor, RESET, email="anna@example.com")
    tried = (
        "SELECT attempts, status::text, args::text FROM procrastinate_jobs WHERE task_name = 'password_mail'"
    )
    wait_until(lambda: query(database.url, tried)[0][0] >= 1, 20, "a first try")
    ((_attempts, status, arguments),) = query(database.url, tried)
    assert status in ("todo", "doing")
    assert "http" in arguments
    assert "/reset/" not in arguments  # no link lies about in the table


def test_an_e_mail_waits_for_no_run(
    start: Callable[..., Service],
    database: Database,
    smtp: SmtpServer,
    variables: dict[str, str],
    anna: str,
) -> None:
    with fake_openai_process() as model:
        model.fault("stall", times=None)
        asks = asking(model)
        start("worker", database, **variables, **asks, WORKER_RUNS="1")
        web = start("web", database, **variables)
        with Desk(database, **asks) as desk:
            for _ in range(2):
                desk.start()
        wait_until(lambda: model.asked()["requests"], 20, "a run has the only place")
        with browser(web) as visitor:
            post(visitor, RESET, email="anna@example.com")
        wait_until(lambda: smtp.messages, 5, "the e-mail")
    listening = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'LISTEN%%procrastinate%%'"
    )
    assert query(database.superuser_url, listening, database.name) == [(1,)]


def test_an_e_mail_whose_worker_is_killed_is_sent_by_another(
    site: Service,
    worker: Service,
    start: Callable[..., Service],
    database: Database,
    smtp: SmtpServer,
    variables: dict[str, str],
) -> None:
    smtp.stalled.set()
    with browser(site) as visitor:
        post(visitor, RESET, email="anna@example.com")
    assert smtp.connected.acquire(timeout=20)
    worker.kill()
    smtp.go_on()
    start("worker", database, **variables)
    wait_until(lambda: smtp.messages, 20, "the e-mail")


def test_a_site_that_sends_no_e_mail_says_so(start: Callable[..., Service], database: Database) -> None:
    web = start("web", database, EMAIL_URL="")
    answer = web.get(RESET)
    assert answer.status_code == 200
    assert "This site sends no e-mail" in answer.text
    assert httpx.post(web.url + RESET, data={"email": "anna@example.com"}).status_code in (200, 403)
