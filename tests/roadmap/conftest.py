"""Servers and folders of a test's own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.roadmap import ordinary_user
from tests.roadmap.clone import MakeRun, make_clone, seed
from tests.service import free_port, query

ID = "3f2a8f4e-0000-4000-8000-000000000001"  # of `roadmap`


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's; with a space in its path."""
    path = ordinary_user.open_folder()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def private_postgres(open_folder: Path) -> Iterator[Callable[..., PrivatePostgres]]:
    """`private_postgres(path, **options)`: not started yet; stopped with the test."""
    made: list[PrivatePostgres] = []

    def make(path: Path = open_folder / "a server", **options: object) -> PrivatePostgres:
        made.append(PrivatePostgres(path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop("immediate")


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """A clone with a space in its path, for tests that may follow one another in it."""
    folder = ordinary_user.open_folder()
    path = make_clone(folder / "a clone")
    seed(path)
    yield path
    shutil.rmtree(folder)


@pytest.fixture
def run(open_folder: Path) -> Iterator[Callable[..., MakeRun]]:
    """`run(clone)`: a `make run` on a free port; ended with the test, also when that fails."""
    started: list[MakeRun] = []

    def start(path: Path, **options: object) -> MakeRun:
        started.append(MakeRun(path, free_port(), **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.kill()
        print(one.output())  # pytest shows it when the test failed


@pytest.fixture
def roadmap(database) -> str:
    """A roadmap that is worked on, in its third attempt."""
    query(
        database.url,
        "WITH owner AS (INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email,"
        " is_staff, is_active, date_joined) VALUES ('ada', '', false, '', '', '', false, true, now()) RETURNING id)"
        " INSERT INTO roadmap_roadmap (id, owner_id, goal, level, language, state, error, author, title, summary,"
        " attempt, generation, last_event, tokens_in, tokens_out)"
        " SELECT %s, id, 'a goal', '', '', 'drafting', '', '', '', '', 3, 0, 0, 0, 0 FROM owner RETURNING id",
        ID,
    )
    return ID
