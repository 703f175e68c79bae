"""Processes that must not outlive the one that started them, not even when that one is killed with -9."""

import contextlib
import os
import signal
import subprocess

# A line is a dismissal; the pipe's end means that who held the other end is gone, however it went.
SCRIPT = 'read -r dismissed || kill -s "$1" -- "$2"'


class Guard:
    """Signals a process as soon as this one is gone.

    A pipe and a shell instead of Linux's PR_SET_PDEATHSIG: that one fires at the end of the *thread* that
    started the process, and macOS has nothing like it.
    """

    def __init__(self, pid: int, signal_name: str = "TERM", *, group: bool = False) -> None:
        """`signal_name` as `kill` takes it; `group` signals the process group that `pid` leads."""
        read_end, self._held = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", SCRIPT, "guard", signal_name, f"-{pid}" if group else str(pid)],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(read_end)

    def dismiss(self) -> None:
        """The process has ended: its number may soon be somebody else's. To be called once."""
        with contextlib.suppress(BrokenPipeError):  # somebody ended the shell already
            os.write(self._held, b"dismissed\n")
        os.close(self._held)
        self._shell.wait()


def signal_group(pid: int, signum: signal.Signals) -> bool:
    """Signal the process group that `pid` leads; false when nobody is left in it."""
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        return False
    return True
