"""A button pressed twenty times at once, over HTTP: one press counts, the others hear that it was decided already."""

import asyncio
import json
from collections import Counter

import pytest

from tests.client import Client, run
from tests.roadmap.runs.desk import Desk
from tests.service import query

TIMES = 20
APPROVE = {"decision": "approve"}
REVISE = {"decision": "revise", "feedback": "More of it."}
QUEUED = "SELECT count(*)::int FROM procrastinate_jobs WHERE lock = %s"


@pytest.mark.parametrize(
    ("state", "action", "bodies"),
    [
        ("review", "review", [APPROVE]),
        ("review", "review", [APPROVE, REVISE]),
        ("review", "cancel", [{}]),
        ("failed", "retry", [{}]),
    ],
)
def test_one_press_counts(web, database, state, action, bodies):
    with Desk(database) as desk:
        token = desk.token()
        roadmap_id = desk.start(goal="Learn Django")
        # As its run would have left it, so that nothing but the presses changes it.
        query(database.url, "UPDATE roadmap_roadmap SET state = %s RETURNING 1", state)
        query(database.url, "UPDATE procrastinate_jobs SET status = 'succeeded' RETURNING 1")

        async def press(number: int, together: asyncio.Barrier) -> int:
            body = json.dumps(bodies[number % len(bodies)]).encode()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            async with Client(web.url) as client:
                await client.request("GET", "/health/live")  # so that its connection is there
                await together.wait()
                path = f"/api/v1/roadmaps/{roadmap_id}/{action}"
                return (await client.request("POST", path, body, headers)).status

        async def all_at_once() -> list[int]:
            together = asyncio.Barrier(TIMES)
            return await asyncio.gather(*(press(number, together) for number in range(TIMES)))

        assert Counter(run(all_at_once())) == {202: 1, 409: TIMES - 1}
        told = [data["status"] for _, kind, data in desk.events(roadmap_id) if kind == "status"]
        assert len(told) == 2, "it was queued, and one press was recorded"
        assert query(database.url, QUEUED, roadmap_id)[0][0] == (1 if action == "cancel" else 2)
