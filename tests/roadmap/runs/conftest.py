from collections.abc import Iterator

import pytest

from tests.conftest import Database
from tests.fake_openai_process import Control, fake_openai_process
from tests.roadmap.runs.desk import Desk
from tests.service import Service


@pytest.fixture
def model() -> Iterator[Control]:
    """A language model's server, that counts what it is asked."""
    with fake_openai_process() as model:
        yield model


@pytest.fixture
def asks(model: Control) -> dict[str, str]:
    """The environment of a service that asks `model`."""
    return {
        "LLM_MODEL": "test-model",
        "LLM_BASE_URL": model.url,
        "LLM_API_KEY": "a key",
        "LLM_MAX_CONCURRENCY": "200",
    }


@pytest.fixture
def desk(database: Database, asks: dict[str, str]) -> Iterator[Desk]:
    """The door, without limits."""
    with Desk(database, **asks) as desk:
        yield desk


@pytest.fixture
def worker(start, database: Database, asks: dict[str, str]) -> Service:
    return start("worker", database, **asks)
