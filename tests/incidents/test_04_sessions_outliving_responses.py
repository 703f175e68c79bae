"""Incident 4: "QueuePool limit of size 20 overflow 40 reached".

Sessions outlived their responses, held across HTTP and e-mail. The pool was made smaller. Here a stream that is open, a
run whose model is slow and a reader that does not read hold no connection, so far more of them than connections are
open at once, and pages are answered as before.
"""

import asyncio

from tests.client import run
from tests.fake_openai_process import fake_openai_process
from tests.people import sign_in
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.roadmap.runs.sse import Reader
from tests.service import wait_until

STREAMS = 200  # the web's connections are 24


def test_streams_and_slow_models_hold_no_connection(start, web, database):
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        start("worker", database, **asking(model))
        model.fault("stall", times=None)
        roadmaps = [desk.start(goal=f"goal {number}") for number in range(10)]
        token, cookie = desk.token(), sign_in(web, database)

        async def hold() -> list[int]:
            readers = [Reader(web.url, roadmaps[number % 10], token) for number in range(STREAMS)]
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
        wait_until(lambda: web.health()["streams"]["open"] == 0, 5, "all are gone")
