"""`asyncio.timeout` for very many who all have equally long: one timer looks after all of them.

A timer for each would cost a join more than its address check; it runs 10,000 times a second.
"""

import asyncio
from collections import deque
from types import TracebackType


class Deadlines:
    """The deadlines of one event loop, each so many seconds from where its block begins."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._begun: deque[Deadline] = deque()  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> "Deadline":
        """A block that is cancelled at its deadline, and raises TimeoutError then."""
        return Deadline(self)

    def watch(self, deadline: "Deadline", loop: asyncio.AbstractEventLoop) -> None:
        deadline.at = loop.time() + self._seconds
        self._begun.append(deadline)
        if self._timer is None:
            self._timer = loop.call_at(deadline.at, self._look, loop)

    def tidy(self) -> None:
        """Forget the oldest that are over."""
        while self._begun and self._begun[0].task is None:
            self._begun.popleft()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self.tidy()
        while self._begun and self._begun[0].at <= loop.time():
            self._begun.popleft().expire()
            self.tidy()
        if self._begun:
            self._timer = loop.call_at(self._begun[0].at, self._look, loop)


class Deadline:
    """One block. `at` is the loop's time of its deadline, `task` None outside of it."""

    __slots__ = ("_cancelled_before", "_expired", "_owner", "at", "task")
    at: float
    task: asyncio.Task[object] | None

    def __init__(self, owner: Deadlines):
        self._owner = owner
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # there is a loop, or nothing could be awaited
        self.task = task
        self._cancelled_before = task.cancelling()
        self._owner.watch(self, task.get_loop())

    def expire(self) -> None:
        if self.task is not None:
            self._expired = True
            self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self.task = self.task, None
        self._owner.tidy()
        # As asyncio.Timeout has it: a cancel of somebody else's is passed on.
        if (
            self._expired
            and task is not None
            and task.uncancel() <= self._cancelled_before
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error
