"""Incident 10: pages hang up to 60 s while content is generated.

Web and generation shared one pool. Here they share none: with every run slot taken and the checkpointer pool stuck,
pages and joins are answered as fast as those of a site where nothing is generated, visited in turns with it.
"""

import asyncio

import psycopg
import pytest

from tests.client import Client, run
from tests.conftest import Database, copy_database
from tests.fake_openai_process import fake_openai_process
from tests.people import sign_in
from tests.roadmap.runs.conftest import asking
from tests.roadmap.runs.desk import Desk
from tests.service import Service, manage, query, wait_until

pytestmark = pytest.mark.alone

STUCK = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = %s AND application_name = 'roadmap_agent/worker/checkpointer' AND wait_event_type = 'Lock'
"""
ROADMAP = """
from django.contrib.auth.models import User
from tests.roadmap.fronts.rows import roadmap_of
print(roadmap_of(User.objects.get(is_superuser=True)).pk)
"""
VISITORS, TURNS, ROUNDS = 4, 25, 4  # of three requests each
MOST = 2.0  # times the p99 of the site where nothing is generated


class Site:
    """A web server with somebody who is signed in and has a roadmap, and how long its visitors have waited."""

    def __init__(self, web: Service, database: Database):
        self.web = web
        self.cookie = {"Cookie": sign_in(web, database)}
        made = manage(database.url, "shell", "--verbosity=0", "-c", ROADMAP)
        assert made.returncode == 0, made.stderr
        self.roadmap = f"/roadmaps/{made.stdout.split()[-1]}/"
        self.seconds: list[float] = []
        self.rounds = 0

    async def visit(self) -> None:
        """A round of joins and pages, some visitors at a time."""
        self.rounds += 1

        async def one(number: int) -> None:
            async with Client(self.web.url) as client:
                for turn in range(TURNS):
                    answers = [
                        await client.join(f"{self.rounds}-{number}-{turn}@example.com"),
                        await client.request("GET", "/admin/", headers=self.cookie),
                        await client.request("GET", self.roadmap, headers=self.cookie),
                    ]
                    assert [answer.status for answer in answers] == [202, 200, 200]
                    self.seconds += [answer.seconds for answer in answers]

        await asyncio.gather(*(one(number) for number in range(VISITORS)))

    def p99(self) -> float:
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


def visit_in_turns(*sites: Site) -> None:
    for site in sites:
        run(site.visit())  # what is done for the first time takes longer
        site.seconds.clear()
    for _ in range(ROUNDS):
        for site in sites:
            run(site.visit())


def test_pages_and_joins_are_as_fast_while_every_run_is_stuck(start, web, database, postgres):
    elsewhere = copy_database(postgres)
    busy, calm = Site(web, database), Site(start("web", elsewhere), elsewhere)
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        worker = start("worker", database, **asking(model))
        with psycopg.connect(database.superuser_url) as holder:
            holder.execute("LOCK TABLE checkpoint_blobs, checkpoint_writes")
            for number in range(25):
                desk.start(goal=f"goal {number}")
            wait_until(lambda: query(database.superuser_url, STUCK, database.name) == [(4,)], 15, "its pool")
            doing = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'doing'"
            wait_until(lambda: query(database.url, doing) == [(20,)], 15, "every slot is taken")
            assert worker.health()["pools"]["checkpointer"]["waiting"] > 0
            visit_in_turns(busy, calm)
        wait_until(lambda: desk.states() == {"review": 25, "ready": 1}, 60, "the runs go on")
    figures = f"p99 {busy.p99() * 1000:.0f} ms, {calm.p99() * 1000:.0f} ms where nothing is generated"
    print(figures)
    assert busy.p99() < MOST * calm.p99(), figures
    assert web.health()["faults"]["pool_timeout"] == 0
