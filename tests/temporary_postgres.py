"""A PostgreSQL for the tests, never the developer's."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from roadmap.server.postgres import PrivatePostgres

MEMORY = Path("/dev/shm")  # where there is one: these servers crash often, and disks are slow


@contextlib.contextmanager
def temporary_postgres(
    *, max_connections: int = 200, settings: Mapping[str, str] | None = None, like: Path | None = None
) -> Iterator[PrivatePostgres]:
    """A running server for tests, on a socket and on loopback, gone with all its data at the end.

    `like`: the folder of a server that has ended, whose data it starts with.
    """
    folder = Path(tempfile.mkdtemp(prefix="roadmap-test-", dir=MEMORY if MEMORY.is_dir() else "/tmp"))
    server = PrivatePostgres(folder, tcp=True, max_connections=max_connections, settings=settings)
    try:
        if like is not None:
            subprocess.run(["cp", "--archive", f"{like}/data", f"{folder}/data"], check=True)
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
