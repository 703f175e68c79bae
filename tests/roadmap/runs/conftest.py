from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.conftest import Database, copy_database
from tests.fake_openai_process import Control, fake_openai_process
from tests.roadmap.runs.desk import Desk
from tests.service import Service


def asking(model: Control) -> dict[str, str]:
    """The environment of a service that asks `model`."""
    return {
        "LLM_MODEL": "test-model",
        "LLM_BASE_URL": model.url,
        "LLM_API_KEY": "a key",
        "LLM_MAX_CONCURRENCY": "200",
    }


@pytest.fixture
def model() -> Iterator[Control]:
    """A language model's server, that counts what it is asked."""
    with fake_openai_process() as model:
        yield model


@pytest.fixture
def asks(model: Control) -> dict[str, str]:
    return asking(model)


@pytest.fixture
def desk(database: Database, asks: dict[str, str]) -> Iterator[Desk]:
    """The door, without limits."""
    with Desk(database, **asks) as desk:
        yield desk


@pytest.fixture
def worker(start, database: Database, asks: dict[str, str]) -> Service:
    return start("worker", database, **asks)


@dataclass
class Office:
    """What a roadmap needs to be made: a worker, a model's server, and somebody at the door."""

    database: Database
    model: Control
    desk: Desk


@pytest.fixture(scope="module")
def module_office(postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests of a module; starting a worker takes seconds."""
    database, log = copy_database(postgres), tmp_path_factory.mktemp("worker") / "worker.log"
    with fake_openai_process() as model, Desk(database, **asking(model)) as desk:
        worker = Service("worker", database.url, log, **asking(model))
        try:
            worker.start()
            yield Office(database, model, desk)
        finally:
            worker.kill()


@pytest.fixture
def office(module_office: Office) -> Office:
    """The module's, with a model that counts from nought."""
    module_office.model.reset()
    return module_office
