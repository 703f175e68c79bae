"""Somebody who works at `roadmap.runs.door`, in a process of their own: `python -m tests.roadmap.runs.desk`.

It reads one call a line from its standard input, as JSON, and answers each with a line.
"""

import json
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

from tests.service import PROJECT, environment, query, wait_until

if TYPE_CHECKING:
    from tests.conftest import Database

GOAL = "Learn Django"


class Refused(Exception):
    """The door refused; `name` is its exception's."""

    def __init__(self, name: str, text: str):
        super().__init__(f"{name}: {text}")
        self.name = name


class Desk:
    """The process; one person, `ada`, unless another is named."""

    def __init__(self, database: "Database", **variables: str):
        self.database = database
        self.variables = {"ROADMAPS_PER_DAY": "1000", "ROADMAPS_AT_ONCE": "1000", **variables}

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.roadmap.runs.desk"],
            cwd=PROJECT,
            env=environment(self.database.url, **self.variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def call(self, name: str, *arguments: Any, person: str = "ada", **options: Any) -> Any:
        """What the door's function returns; with `at_once=20` what becomes of so many calls, as a list of names."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, person, arguments, options]) + "\n")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the door broke; its process says why")
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(*answer["refused"])
        return answer["result"]

    def start(self, goal: str = GOAL, **options: Any) -> str:
        return str(self.call("start", goal=goal, **options))

    def approve(self, roadmap_id: str) -> None:
        self.call("review", roadmap_id, "approve")

    def revise(self, roadmap_id: str, feedback: str) -> None:
        self.call("review", roadmap_id, "revise", feedback)

    def token(self, person: str = "ada") -> str:
        return str(self.call("token", person=person))

    def record(self, roadmap_id: str, times: int = 1) -> None:
        """Append so many events that tell when they were recorded."""
        self.call("record", roadmap_id, times)

    def field(self, roadmap_id: str, name: str) -> Any:
        return query(self.database.url, f"SELECT {name} FROM roadmap_roadmap WHERE id = %s", roadmap_id)[0][0]

    def state(self, roadmap_id: str) -> str:
        return str(self.field(roadmap_id, "state"))

    def checkpoint_rows(self, roadmap_id: str) -> int:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
        counts = (f"SELECT count(*)::int FROM {table} WHERE thread_id LIKE %s" for table in tables)
        return sum(query(self.database.url, count, f"{roadmap_id}:%")[0][0] for count in counts)

    def states(self) -> dict[str, int]:
        return dict(query(self.database.url, "SELECT state, count(*)::int FROM roadmap_roadmap GROUP BY 1"))

    def wait_for(self, roadmap_id: str, state: str, within: float = 20) -> None:
        wait_until(lambda: self.state(roadmap_id) == state, within, f"the roadmap is {state}")

    def events(self, roadmap_id: str) -> list[tuple[int, str, dict[str, Any]]]:
        statement = "SELECT number, kind, data FROM roadmap_event WHERE roadmap_id = %s ORDER BY number"
        return query(self.database.url, statement, roadmap_id)  # type: ignore[return-value]

    def lessons(self, roadmap_id: str) -> dict[str, str]:
        statement = "SELECT key, lesson FROM roadmap_concept WHERE roadmap_id = %s ORDER BY position"
        return dict(query(self.database.url, statement, roadmap_id))


def main() -> None:
    import os
    from concurrent.futures import ThreadPoolExecutor

    os.environ["DJANGO_SETTINGS_MODULE"] = "roadmap.settings"
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection

    from roadmap.accounts import make_token
    from roadmap.runs import door, events

    refusals = (door.Invalid, door.LimitReached, door.NotFound, door.UnknownGoal, door.WrongState)

    def call(name: str, owner: User, arguments: list[Any], options: dict[str, Any]) -> dict[str, Any]:
        try:
            if name == "start":
                result = str(door.start(owner, **options).pk)
            elif name == "token":
                result = make_token(owner, "a test's")
            elif name == "record":
                for number in range(arguments[1]):
                    events.record(uuid.UUID(arguments[0]), "status", {"number": number, "at": time.time()})
                result = None
            else:
                result = getattr(door, name)(arguments[0], owner, *arguments[1:], **options)
        except refusals as error:
            return {"refused": [type(error).__name__, str(error)]}
        return {"result": result}

    def call_and_leave(*call_: Any) -> dict[str, Any]:
        try:
            return call(*call_)
        finally:
            connection.close()

    for line in sys.stdin:
        name, person, arguments, options = json.loads(line)
        owner, _ = User.objects.get_or_create(username=person)
        if times := options.pop("at_once", 0):
            with ThreadPoolExecutor(times) as threads:
                calls = [
                    threads.submit(call_and_leave, name, owner, arguments, options) for _ in range(times)
                ]
            answer = {"result": [each.result().get("refused", ["done"])[0] for each in calls]}
        else:
            answer = call(name, owner, arguments, options)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
