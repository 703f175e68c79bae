"""Incident 4: "QueuePool limit of size 20 overflow 40 reached".

Sessions outlived their responses, held across HTTP and e-mail. The pool was made smaller. Here a stream that is open, a
run whose model is slow, an e-mail whose server hangs and a reader that does not read hold no connection, so far more
of them than connections are open at once, and pages are answered as before.
"""

import asyncio

import httpx

from tests.client import run
from tests.fake_openai_process import fake_openai_process
from tests.people import sign_in
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.roadmap.runs.sse import Reader
from tests.service import Service, query, wait_until
from tests.smtp import SmtpServer

STREAMS = 200  # the web's connections are 24
MAILS = 3
RESET = "/accounts/password/reset/"


def ask_for_mails(web: Service, address: str) -> None:
    with httpx.Client(base_url=web.url, timeout=10) as visitor:
        for _ in range(MAILS):
            visitor.get(RESET).raise_for_status()
            form = {"email": address, "csrfmiddlewaretoken": visitor.cookies["csrftoken"]}
            assert visitor.post(RESET, data=form).status_code == 302


def used(worker: Service) -> dict[str, int]:
    return {name: pool["used"] for name, pool in worker.health()["pools"].items()}


def test_streams_slow_models_and_slow_e_mail_hold_no_connection(start, web, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk, SmtpServer() as smtp:
        worker = start("worker", database, EMAIL_URL=smtp.url, **asking(model))
        model.fault("stall", times=None)
        smtp.stalled.set()
        people = [f"reader-{number}" for number in range(10)]
        theirs = [(desk.start(goal="a goal", person=one), desk.token(one)) for one in people]
        cookie = sign_in(web, database)
        ((address,),) = query(database.url, "SELECT email FROM auth_user WHERE is_superuser")
        ask_for_mails(web, address)
        for _ in range(MAILS):
            assert smtp.connected.acquire(timeout=20), "it is being sent"
        doing = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"
        wait_until(lambda: query(database.url, doing) == [(len(people) + MAILS,)], 10, "all are at work")

        async def hold() -> list[int]:
            readers = [Reader(web.url, *theirs[number % 10]) for number in range(STREAMS)]
            for reader in readers:
                await reader.__aenter__()  # and reads no more than that
            pages = []
            for _ in range(20):
                answer = await asyncio.to_thread(web.get, "/admin/", headers={"Cookie": cookie})
                pages.append(answer.status_code)
            health = await asyncio.to_thread(web.health)
            assert health["streams"]["open"] == STREAMS
            assert health["pools"]["orm"]["used"] == health["threads"]["busy"] == 0
            assert health["faults"]["pool_timeout"] == health["faults"]["pool_full"] == 0
            for reader in readers:
                await reader.__aexit__()
            return pages

        assert run(asyncio.wait_for(hold(), 60)) == [200] * 20
        # At once, but for a heartbeat: who held something would hold it for as long as the model hangs.
        wait_until(lambda: set(used(worker).values()) == {0}, 2, "the worker holds nothing")
        assert used(worker).keys() == {"orm", "checkpointer", "jobs"}
        assert query(database.url, doing) == [(len(people) + MAILS,)], "and all are still at work"
        assert smtp.messages == []
        wait_until(lambda: web.health()["streams"]["open"] == 0, 5, "all are gone")
        smtp.go_on()
        wait_until(lambda: len(smtp.messages) >= MAILS, 20, "the e-mails")
        assert worker.health()["faults"]["pool_timeout"] == 0
