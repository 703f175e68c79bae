"""`tests.fake_openai` as a process of its own, which outlives whatever is killed around it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from tests.service import PROJECT


class Control:
    """What a test tells and asks a fake that is a process of its own."""

    def __init__(self, port: int, pid: int):
        self.port = port
        self.pid = pid
        self.url = f"http://127.0.0.1:{port}/v1"

    def asked(self) -> dict[str, Any]:
        answer: dict[str, Any] = (
            httpx.get(f"http://127.0.0.1:{self.port}/control/asked").raise_for_status().json()
        )
        return answer

    def settings(self, **changes: object) -> None:
        self._post("settings", changes)

    def fault(self, kind: str, times: int | None = 1, **rest: object) -> None:
        self._post("faults", [{"kind": kind, "times": times, **rest}])

    def reset(self) -> None:
        self._post("reset", {})

    def _post(self, what: str, content: object) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/control/{what}", json=content).raise_for_status()


@contextlib.contextmanager
def fake_openai_process() -> Iterator[Control]:
    command = [sys.executable, "-m", "tests.fake_openai", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout is not None
        try:
            yield Control(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()
