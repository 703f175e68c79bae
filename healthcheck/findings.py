"""What is wrong with a plan on its server, or with what is open there, and what would put it right."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from healthcheck.activity import Live, Server
from healthcheck.budget import (
    Budget,
    Plan,
    deploy_peak,
    instances_that_fit,
    largest_that_fits,
    names,
    steady,
)
from healthcheck.faults import classify

STEADY = 2  # the one that keeps the service from starting
OLDEST_VERSION = 15  # Django 6.1 takes nothing older

Level = Literal["warning", "critical"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; the hint says what to change."""

    level: Level
    number: int
    message: str
    hint: str

    @property
    def id(self) -> str:
        return f"healthcheck.{'E' if self.level == 'critical' else 'W'}{self.number:03}"

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "level": self.level, "message": self.message, "hint": self.hint}


def unreachable(error: Exception) -> Finding:
    """The server could not be asked: its own reason, or what kept us from it."""
    hints = {
        "server_refused": "The server is there and refuses: make room on it, or wait until it has started.",
        "connect_failed": "See that it runs, and that DATABASE_URL leads to it.",
    }
    hint = hints.get(classify(error) or "", "Look at the server's log for what happened to the connection.")
    return Finding("critical", 1, f"PostgreSQL could not be asked: {' '.join(str(error).split())}", hint)


def of_plan(budget: Budget, server: Server) -> Iterator[Finding]:
    """What can be said of a plan and a server, whatever is open at the moment."""
    if over := budget.too_many(budget.steady):
        fit = instances_that_fit(budget.plan, server.limit)
        yield Finding(
            "critical",
            STEADY,
            f"The service may open {_sum(budget.steady, over, budget.plan, server)}.",
            f"{_ways_out(budget.plan, server, steady)}. What fits, everything else as it is: "
            + ", or ".join(f"{count} × {role}" for role, count in fit.items())
            + ".",
        )
    if over := budget.too_many(budget.deploy_peak):
        surge = budget.plan.surge
        yield Finding(
            "critical" if surge else "warning",
            3,
            f"A deploy that starts {max(1, surge)} more of every role before it stops the old ones may open "
            f"{_sum(budget.deploy_peak, over, budget.plan, server)}.",
            f"{_ways_out(budget.plan, server, deploy_peak)}; or deploy without overlap.",
        )
    if budget.warn is not None and budget.critical is not None and budget.warn > budget.critical:
        yield Finding(
            "warning",
            7,
            f"DB_CONNECTIONS_WARN comes to {budget.warn} connections on this server, which is above the "
            f"{budget.critical} of DB_CONNECTIONS_CRITICAL.",
            "Give both as numbers or both as shares, the warning below.",
        )
    if server.version_number < OLDEST_VERSION * 10_000:
        yield Finding(
            "critical",
            8,
            f"The server is PostgreSQL {server.version}; at least {OLDEST_VERSION} is needed.",
            "Move the database to a newer server.",
        )
    if server.is_superuser:
        yield Finding(
            "warning",
            9,
            f"The role {server.role} is a superuser: no limit binds it, and it takes the reserved slots.",
            f"Let DATABASE_URL name an ordinary role that owns the database {server.database}.",
        )


def of_live(budget: Budget, live: Live, application: str) -> Iterator[Finding]:
    """What can be said of the connections that are open at this moment."""
    lines: list[tuple[Level, str, int | None]] = [
        ("critical", "DB_CONNECTIONS_CRITICAL", budget.critical),
        ("warning", "DB_CONNECTIONS_WARN", budget.warn),
    ]
    by_name = {name: states.total() for name, states in live.by_name().items()}
    for level, variable, line in lines:
        if line is not None and live.total > line:
            most = sorted(by_name.items(), key=lambda item: -item[1])[:3]
            yield Finding(
                level,
                4,
                f"{_connections(live.total)} on the server; {variable} comes to {line}.",
                "Most are "
                + ", ".join(f"{name or 'without a name'} ({count})" for name, count in most)
                + ": end what nobody needs.",
            )
            break
    planned = names(budget.plan, application)
    for name, count in by_name.items():
        if name in planned and count > planned[name]:
            if name == f"{application}/command":
                hint = "Run fewer one-off commands at once, or raise COMMAND_CONNECTIONS."
            else:
                role = name.split("/")[1].upper()
                processes = "WEB_CONCURRENCY" if role == "WEB" else f"{role}_PROCESSES"
                hint = (
                    f"More processes run than {role}_INSTANCES × {processes} says, or a deploy is under way; "
                    "give every service of the deployment the same variables."
                )
            yield Finding(
                "warning", 5, f"{name} has {_connections(count)}; the plan has {planned[name]}.", hint
            )
        elif name not in planned and (name == application or name.startswith(f"{application}/")):
            yield Finding(
                "warning",
                6,
                f"{name} has {_connections(count)}, and the plan knows no such name.",
                "Another version of the service is running, or something took its name: end it.",
            )


def _connections(count: int) -> str:
    return f"{count} open connection{'' if count == 1 else 's'}"


def _sum(connections: int, over: int, plan: Plan, server: Server) -> str:
    """A sum that does not fit, and the limit that it passes, by what sets that."""
    if server.limit == server.usable:
        allowed = "the server allows"
    elif server.limit == server.role_limit:
        allowed = f"the role {server.role} may have"
    else:
        allowed = f"the database {server.database} may have"
    return (
        f"{connections} connections; with the {plan.reserve} of DB_CONNECTIONS_RESERVE that is {over} more "
        f"than the {server.limit} that {allowed}"
    )


def _ways_out(plan: Plan, server: Server, total: Callable[[Plan], int]) -> str:
    """What to change so that a sum fits: the pools, or else the limit, each with its number."""
    needed = total(plan) + plan.reserve
    raises = []
    if needed > server.usable:
        raises.append(f"max_connections to at least {needed + server.reserved}")
    if server.role_limit is not None and needed > server.role_limit:
        raises.append(f"the connection limit of the role {server.role} to at least {needed}")
    if server.database_limit is not None and needed > server.database_limit:
        raises.append(f"the connection limit of the database {server.database} to at least {needed}")
    size = largest_that_fits(plan, "DB_POOL_MAX_SIZE", server.limit, total)
    lower = f"Set DB_POOL_MAX_SIZE to at most {size}, or set " if size else "Set "
    return lower + " and ".join(raises)
