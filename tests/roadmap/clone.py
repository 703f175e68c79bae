"""A clone of the project, as a newcomer has it, and `make run` in it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from roadmap import plan
from roadmap.server import binaries
from tests.roadmap import ordinary_user
from tests.service import PROJECT, wait_until

# What a newcomer's terminal does not have: the tests' own settings, and those of the make around the tests.
OURS = {
    "DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
    "ENVIRONMENT",
    "PORT",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "CI",
}
STOP_SECONDS = 60.0


def environment(**variables: str) -> dict[str, str]:
    taken = {n: v for n, v in binaries.clean_environment().items() if n not in OURS | plan.DEFAULTS.keys()}
    return {**taken, **variables}


def make_clone(folder: Path) -> Path:
    """What git would put there, changes that are not committed yet included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    return folder


def seed(clone: Path, python: Path = Path(sys.executable), variables: dict[str, str] | None = None) -> None:
    """Spare the clone the installation: one test does it from nothing, the others take what is here."""
    ordinary_user.make_venv(python, clone / ".venv", variables or {})
    (clone / ".venv" / "requirements").touch()


class MakeRun:
    """One `make run`, in a session of its own as if in a terminal."""

    def __init__(self, clone: Path, port: int, *, as_somebody: bool = False, **variables: str) -> None:
        self.clone = clone
        self.url = f"http://localhost:{port}"
        self._environment = environment(PORT=str(port), **variables)
        self._user: dict[str, Any] = {}
        if as_somebody and os.geteuid() == 0:
            self._user = binaries.credentials(ordinary_user.somebody())
        self._log = clone.parent / f"{clone.name} {port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                # In a terminal; whatever started the tests may have it ignored.
                ["env", "--default-signal=INT,HUP", "make", "run"],
                cwd=clone,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user,
            )

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_the_page(self, within: float = 60.0) -> None:
        def answered() -> bool:
            assert self.process.poll() is None, self.output()
            return f"Roadmap is at {self.url}/" in self.output()

        wait_until(answered, within, "the address is printed")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`manage.py …` in a second terminal, which knows nothing of the first."""
        return subprocess.run(
            [".venv/bin/python", "manage.py", *arguments],
            cwd=self.clone,
            env={name: value for name, value in self._environment.items() if name != "PORT"},
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )

    def supervisor(self) -> int:
        """The number of the process that make started."""
        return next(pid for pid, line in processes(self.clone).items() if "-m roadmap.server.run" in line)

    def press_ctrl_c(self) -> None:
        """The terminal signals everybody in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(STOP_SECONDS)

    def close_the_terminal(self) -> None:
        os.killpg(self.process.pid, signal.SIGHUP)

    def kill(self) -> None:
        """For the end of a test that failed: everything in the clone's folder."""
        for pid in processes(self.clone):
            with contextlib.suppress(ProcessLookupError):  # it went with another one
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def staff_password(self) -> str:
        found = re.search(r"user staff, password (\S+)", self.output())
        assert found is not None, self.output()
        return found[1]


def processes(folder: Path) -> dict[int, str]:
    """The command lines of all processes that work in `folder` or name it, by process number."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = (entry / "cwd").readlink()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or somebody else's
        if str(folder) in line or place.is_relative_to(folder):
            found[int(entry.name)] = line
    return found


def ends_in_order(run: MakeRun) -> None:
    """It said so, and it is so."""
    assert "Nothing is left running." in run.output()
    wait_until(lambda: not processes(run.clone), 5, f"nothing is left of {processes(run.clone)}")
