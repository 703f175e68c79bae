"""Of all who want checkpoints deleted the first queues a job for it, whatever language the server speaks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import languages
from tests.conftest import Database, copy_database
from tests.roadmap.runs.desk import Desk
from tests.service import query
from tests.temporary_postgres import temporary_postgres

WAITING = "SELECT count(*)::int FROM procrastinate_jobs WHERE task_name = 'prune' AND status = 'todo'"


@pytest.fixture(params=languages.LANGUAGES)
def speaking_database(
    request: pytest.FixtureRequest, migrated: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """One of a server whose messages are in that language."""
    languages.install(request.param, open_folder, monkeypatch)
    settings = {"fsync": "off", "lc_messages": request.param}
    with temporary_postgres(settings=settings, like=migrated) as server:
        yield copy_database(server)


def test_roadmaps_cancelled_and_deleted_one_after_the_other_leave_one_job(speaking_database):
    with Desk(speaking_database) as desk:
        cancelled, deleted = [desk.start() for _ in range(2)], desk.start()
        for roadmap_id in cancelled:
            desk.call("cancel", roadmap_id)
        desk.call("delete", deleted)
        assert desk.states() == {"cancelled": 2}
    assert query(speaking_database.url, WAITING) == [(1,)]
