"""An answered join is stored, whatever is killed right after."""

import asyncio
import os
import signal
from collections.abc import Callable

from tests.client import Answer, join_all, run
from tests.service import query, wait_until

JOINS = 5_000
KILLED_AFTER = 1_500  # answers


async def join_and_kill(url: str, kill: Callable[[], None]) -> dict[str, Answer | None]:
    """Join `JOINS` people over 100 connections, and call `kill` while they do."""
    answered = 0

    def emails():
        nonlocal answered
        for n in range(JOINS):
            if n == KILLED_AFTER + 100:  # at least so many of the 100 clients' joins have been answered
                answered = n
                kill()
            yield f"person{n}@example.com"

    answers = await asyncio.wait_for(join_all(url, emails(), clients=100), 60)
    assert answered
    return answers


def accepted(answers: dict[str, Answer | None]) -> set[str]:
    return {email for email, answer in answers.items() if answer is not None and answer.status == 202}


def stored(url: str) -> set[str]:
    return {row[0] for row in query(url, "SELECT normalised FROM waitlist_entry")}


def test_what_a_killed_web_process_had_answered_is_stored_and_another_takes_over(web, database):
    (killed,) = web.worker_pids()
    answers = run(join_and_kill(web.url, lambda: os.kill(killed, signal.SIGKILL)))
    assert len(answers) == JOINS
    assert {answer.status for answer in answers.values() if answer is not None} <= {202, 503}
    assert None in answers.values(), "the process was killed while nobody was waiting for it"
    assert len(accepted(answers)) >= KILLED_AFTER
    assert accepted(answers) <= stored(database.url)

    wait_until(lambda: web.worker_pids() not in ([], [killed]), 10, "gunicorn has started another process")
    wait_until(web.is_ready, 15, "the new process is ready")
    assert web.join("after@example.com").status_code == 202


def test_what_was_answered_before_every_process_was_killed_is_stored(web, database):
    answers = run(join_and_kill(web.url, web.kill))
    assert KILLED_AFTER <= len(accepted(answers)) < JOINS
    assert accepted(answers) <= stored(database.url)
    web.start()
    assert web.join("after@example.com").status_code == 202
