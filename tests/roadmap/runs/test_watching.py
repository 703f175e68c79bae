"""Somebody watches a run, from its start to its end."""

import asyncio

from tests.client import run
from tests.roadmap.runs.sse import Reader
from tests.service import wait_until


def test_the_whole_of_a_run_is_watched(web, worker, desk):
    roadmap_id, token = desk.start(), desk.token()

    async def follow() -> Reader:
        async with Reader(web.url, roadmap_id, token) as reader:
            reading = asyncio.create_task(reader.read())
            await asyncio.to_thread(desk.wait_for, roadmap_id, "review")
            await asyncio.to_thread(desk.approve, roadmap_id)
            await asyncio.to_thread(desk.wait_for, roadmap_id, "ready")
            newest = len(desk.events(roadmap_id))
            await asyncio.to_thread(wait_until, lambda: reader.numbers[-1] == newest, 2, "all has come")
            reading.cancel()
            return reader

    reader = run(asyncio.wait_for(follow(), 60))
    assert [seen[:3] for seen in reader.seen] == desk.events(roadmap_id)
