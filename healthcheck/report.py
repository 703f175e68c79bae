"""One look at the plan and the server: what `check_pools`, the web's start and the system checks judge by."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import psycopg
from django.conf import settings

from healthcheck import findings
from healthcheck.activity import Live, Server, ask
from healthcheck.budget import Budget, Plan
from healthcheck.connecting import connection_kwargs
from healthcheck.findings import Finding

CONNECT_TIMEOUT = 5  # seconds for each address: who asks is waiting, and a server this slow is news in itself

Status = Literal["ok", "warning", "critical", "unknown"]


@dataclass(frozen=True)
class Report:
    """The plan, what the server said, and the findings.

    Attributes:
        live: None also when only a plan is judged.
        error: why the server could not be asked; None when it was.
    """

    plan: Plan
    application: str
    server: Server | None = None
    live: Live | None = None
    error: Exception | None = None

    @cached_property
    def budget(self) -> Budget:
        return Budget.of(self.plan, self.server)

    @cached_property
    def findings(self) -> list[Finding]:
        """The critical ones first."""
        found: list[Finding] = []
        if self.error is not None:
            found.append(findings.unreachable(self.error))
        if self.server is not None:
            found.extend(findings.of_plan(self.budget, self.server))
        if self.live is not None:
            found.extend(findings.of_live(self.budget, self.live, self.application))
        return sorted(found, key=lambda finding: (finding.level, finding.number))

    @property
    def status(self) -> Status:
        if self.server is None:
            return "unknown"
        return self.findings[0].level if self.findings else "ok"

    @property
    def refusal(self) -> str | None:
        """Why the service must not start, in a sentence; None if it may, or if nobody knows the limit."""
        if self.budget.too_many(self.budget.steady):
            return next(finding.message for finding in self.findings if finding.number == findings.STEADY)
        return None

    def what_if(self, changes: Mapping[str, str]) -> "Report":
        """The same server under another plan; what is open now says nothing about that.

        Raises:
            ValueError: a value that the plan does not take.
        """
        return replace(self, plan=self.plan.what_if(changes), live=None)

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "server": self.server.as_json() if self.server else None,
            "budget": self.budget.as_json(),
            "live": self.live.as_json() if self.live else None,
            "findings": [finding.as_json() for finding in self.findings],
        }


def of_cursor(cursor: Any) -> Report:
    """A report through a connection that is there already.

    Raises:
        psycopg.Error, or Django's error around it.
    """
    server, live = ask(cursor)
    return Report(settings.CONNECTION_PLAN, settings.APPLICATION_NAME, server, live)


def without_server(error: Exception) -> Report:
    return Report(settings.CONNECTION_PLAN, settings.APPLICATION_NAME, error=error)


def connect() -> psycopg.Connection[Any]:
    """A connection in no pool, under the name of the one-off commands.

    Raises:
        psycopg.Error: there is none to be had within `CONNECT_TIMEOUT`.
    """
    return psycopg.connect(**connection_kwargs(autocommit=True, connect_timeout=CONNECT_TIMEOUT))


class Observer:
    """Looks at the server over one connection, as often as asked, and makes a new one when that is gone."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[Any] | None = None

    def look(self) -> Report:
        """A report of this moment; a server that cannot be asked is in it, not raised."""
        try:
            if self._connection is None:
                self._connection = connect()
            return of_cursor(self._connection.cursor())
        except psycopg.Error as error:
            self.close()
            return without_server(error)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def take() -> Report:
    """A report of this moment over one connection, which is closed again.

    The web's master process calls this before it forks: nothing of the connection is left by then.
    """
    with Observer() as observer:
        return observer.look()
