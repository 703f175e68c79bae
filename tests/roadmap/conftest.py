"""Servers and folders of a test's own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadmap.server.postgres import PrivatePostgres
from tests.roadmap import ordinary_user


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
