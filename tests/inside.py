"""Run a function of a test inside a process of the service, with everything open that such a process has.

`inside("web", database, look)` starts `python -m tests.inside web tests.some_module look`, which opens what the role
has, awaits `look(arguments)` and prints what it returns as JSON.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.service import PROJECT, environment

if TYPE_CHECKING:
    from tests.conftest import Database

SECONDS = 60.0


def inside(
    role: str,
    database: "Database",
    function: Callable[[dict[str, Any]], Awaitable[Any]],
    arguments: dict[str, Any] | None = None,
    *,
    opened: bool = True,
    **variables: str,
) -> Any:
    """What `function` returns there.

    Args:
        function: of a module's top level; it gets `arguments`, with what was opened as `opened`, and must return what
            JSON can hold.
        opened: False leaves opening to the function.
    """
    program = [sys.executable, "-m", "tests.inside", role, function.__module__, function.__name__]
    done = subprocess.run(
        [*program, json.dumps(arguments or {}), json.dumps(opened)],
        cwd=PROJECT,
        env=environment(database.url, **variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main(name: str, module: str, function: str, arguments: str, opened: str) -> None:
    from roadmap.server import role

    role.become(name)  # type: ignore[arg-type]
    os.environ["DJANGO_SETTINGS_MODULE"] = "roadmap.settings"
    import django

    django.setup()
    from roadmap.server import resources

    opened_for = {"web": resources.opened_for_web, "worker": resources.opened_for_worker}

    async def run() -> Any:
        look = getattr(importlib.import_module(module), function)
        if not json.loads(opened):
            return await look(json.loads(arguments))
        async with opened_for[name]() as opened_here:
            return await look({**json.loads(arguments), "opened": opened_here})

    print(json.dumps(asyncio.run(run())))


if __name__ == "__main__":
    main(*sys.argv[1:])
