"""`make test`: the tests side by side, then those that measure time; `python -m tests.suite [arguments of pytest]`.

Most of the time a test waits, for a process to start or for an outage to pass, so a few at once need no more cores.
"""

import subprocess
import sys

import pytest

AT_ONCE = 4  # on two cores
PARTS = (
    ["-m", "not alone", "--numprocesses", str(AT_ONCE), "--dist", "loadfile", "--no-loadscope-reorder"],
    ["-m", "alone"],
)


def main(arguments: list[str]) -> int:
    codes = [
        subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.no_skips", *part, *arguments], check=False
        ).returncode
        for part in PARTS
    ]
    nothing = int(pytest.ExitCode.NO_TESTS_COLLECTED)
    if set(codes) == {nothing}:
        return nothing
    return max(code for code in codes if code != nothing)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
