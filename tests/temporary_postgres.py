"""A PostgreSQL for the tests, never the developer's."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from roadmap.server.postgres import PrivatePostgres


@contextlib.contextmanager
def temporary_postgres(
    *, max_connections: int = 200, settings: Mapping[str, str] | None = None
) -> Iterator[PrivatePostgres]:
    """A running server for tests, on a socket and on loopback, gone with all its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="roadmap-test-", dir="/tmp"))
    server = PrivatePostgres(folder, tcp=True, max_connections=max_connections, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
