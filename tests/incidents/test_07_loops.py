"""Incident 7: "attached to a different loop", then 1,080 possible connections of 200.

Pools were made for each event loop and never closed. Here each process opens one pool of each kind, after the fork,
in its loop, and closes it with it.
"""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.inside import inside
from tests.service import connections_by_name, query, wait_until


def sockets_to(port: int, pid: int) -> set[int]:
    """The local ports of a process's TCP connections to a port."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue  # closed since it was listed
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {
        int(fields[1].split(":")[1], 16)
        for fields in lines
        if fields[9] in inodes and int(fields[2].split(":")[1], 16) == port
    }


def test_every_connection_belongs_to_one_process_and_none_to_the_one_that_forked(start, postgres, database):
    web = start("web", database, WEB_CONCURRENCY="3")
    wait_until(lambda: all_open(database), 20, "all processes have their connections")
    assert web.process is not None
    held = [sockets_to(postgres.port, pid) for pid in web.worker_pids()]
    assert len(held) == 3
    assert sockets_to(postgres.port, web.process.pid) == set()
    assert set.intersection(*held) == set()
    seen = query(
        database.superuser_url,
        "SELECT client_port, application_name FROM pg_stat_activity"
        " WHERE datname = %s AND application_name LIKE 'roadmap_agent%%'",
        database.name,
    )
    assert {port for port, _ in seen} == set.union(*held)
    for ports in held:
        names = Counter(name for port, name in seen if port in ports)
        assert names["roadmap_agent/web/watch"] == 1
        assert names["roadmap_agent/web/joins"] == 1
        assert 2 <= names["roadmap_agent/web/orm"] <= 8


def all_open(database) -> bool:
    names = connections_by_name(database.superuser_url, database.name)
    return names.get("roadmap_agent/web/watch") == 3 and names.get("roadmap_agent/web/orm", 0) >= 6


async def many_loops(arguments: dict[str, Any]) -> dict[str, Any]:
    """In the process: open everything and close it again in ten loops, one after the other."""
    from roadmap import checkpointer
    from roadmap.server import resources

    async def one_loop() -> int:
        async with resources.opened_for_web(), checkpointer.saver().conn.connection() as connection:
            row = await (await connection.execute("SELECT pg_backend_pid() AS pid")).fetchone()
            return int(row["pid"])

    def all_loops() -> list[int]:
        return [asyncio.run(one_loop()) for _ in range(10)]

    pids = await asyncio.to_thread(all_loops)
    left = connections_by_name(arguments["url"], arguments["name"])
    return {"pids": pids, "left": left}


def test_what_a_loop_opened_is_closed_with_it(database):
    arguments = {"url": database.superuser_url, "name": database.name}
    seen = inside("web", database, many_loops, arguments, opened=False)
    assert len(set(seen["pids"])) == 10
    # A server process takes a moment to end after its client has.
    assert sum(seen["left"].values()) <= 12
    wait_until(
        lambda: connections_by_name(database.superuser_url, database.name) == {}, 5, "no connection is left"
    )
