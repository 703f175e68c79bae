"""What tests of the private PostgreSQL share."""

import os
from pathlib import Path

import psycopg

# Starts a server in the folder argv[1], says which process it is, and waits to be killed.
STARTER = """
import sys, time
from pathlib import Path
from roadmap.server.postgres import PrivatePostgres
server = PrivatePostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(300)
"""


def ask(address: str, statement: str) -> object:
    with psycopg.connect(address, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()  # type: ignore[arg-type]
        return row[0] if row else None


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "Z"  # ended, and its new parent has not asked yet
