"""Servers and folders of a test's own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.roadmap import ordinary_user
from tests.roadmap.clone import MakeRun, make_clone, seed
from tests.service import free_port


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
