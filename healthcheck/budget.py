"""The budget: what the plan may open at the most, beside what the server allows.

    Σ roles: instances × processes × (Σ pools' max + connections outside pools) + commands  + reserve
        ≤ max_connections − superuser_reserved_connections − reserved_connections

There is no factor of hope in it: it is the worst case, and it has to fit. Everything here is arithmetic; the
plan is `settings.CONNECTION_PLAN`, and what the server said comes as an argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from healthcheck.activity import Server


class PoolSize(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def min(self) -> int: ...
    @property
    def max(self) -> int: ...


class Role(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def instances(self) -> int: ...
    @property
    def processes(self) -> int: ...
    @property
    def pools(self) -> tuple[PoolSize, ...]: ...
    @property
    def outside(self) -> tuple[str, ...]: ...


class Threshold(Protocol):
    def of(self, max_connections: int) -> int: ...


class Plan(Protocol):
    """What the budget reads of `settings.CONNECTION_PLAN`; sizes of pools are those of one process."""

    @property
    def environment(self) -> str: ...
    @property
    def roles(self) -> tuple[Role, ...]: ...
    @property
    def commands(self) -> int: ...
    @property
    def reserve(self) -> int: ...
    @property
    def surge(self) -> int: ...
    @property
    def warn(self) -> Threshold: ...
    @property
    def critical(self) -> Threshold: ...

    def what_if(self, changes: Mapping[str, str]) -> "Plan":
        """Raises ValueError for a value that the plan does not take."""


# --- The sum -------------------------------------------------------------------------------------------
def each_process(role: Role) -> int:
    """The most connections that one process of a role opens."""
    return sum(pool.max for pool in role.pools) + len(role.outside)


def of_role(role: Role, more_instances: int = 0) -> int:
    return (role.instances + more_instances) * role.processes * each_process(role)


def steady(plan: Plan) -> int:
    """The most that the service has open while nothing is being deployed."""
    return sum(of_role(role) for role in plan.roles) + plan.commands


def deploy_peak(plan: Plan) -> int:
    """The most during a deploy that overlaps: new instances of every role run beside all the old ones."""
    return sum(of_role(role, more_instances=max(1, plan.surge)) for role in plan.roles) + plan.commands


def instances_that_fit(plan: Plan, limit: int) -> dict[str, int]:
    """For each role the most instances that fit, steady and with the reserve, the others as they are."""
    left = limit - plan.reserve - steady(plan)
    return {
        role.name: max(0, (left + of_role(role)) // (role.processes * each_process(role)))
        for role in plan.roles
    }


@dataclass(frozen=True)
class Share:
    """What one process may open under one name on the server: a pool's connections, and others outside it."""

    min: int
    max: int
    outside: int

    @property
    def most(self) -> int:
        return self.max + self.outside


def shares(role: Role) -> dict[str, Share]:
    """By the last part of the name on the server, what each process of a role may open.

    A connection outside the pools goes by the first word of what the plan calls it: the `jobs listener` is
    found under the name of the jobs pool.
    """
    found = {pool.name: Share(pool.min, pool.max, 0) for pool in role.pools}
    for outside in role.outside:
        name = outside.split()[0]
        share = found.get(name, Share(0, 0, 0))
        found[name] = replace(share, outside=share.outside + 1)
    return found


def names(plan: Plan, application: str) -> dict[str, int]:
    """The most connections under each name on the server."""
    planned = {
        f"{application}/{role.name}/{name}": role.instances * role.processes * share.most
        for role in plan.roles
        for name, share in shares(role).items()
    }
    return {**planned, f"{application}/command": plan.commands}


# --- Beside the server ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sum:
    """One sum of the budget.

    Attributes:
        level: how bad it is if it does not fit, `warning` or `critical`.
        spare: what is left under the limit, negative if it does not fit; None if nobody knows the limit.
    """

    label: str
    level: str
    connections: int
    with_reserve: int
    spare: int | None

    @property
    def verdict(self) -> str:
        if self.spare is None:
            return ""
        return f"{self.spare} to spare" if self.spare >= 0 else f"{-self.spare} too many"


@dataclass(frozen=True)
class Budget:
    """The sums of a plan; what depends on the server is None as long as it could not be asked.

    Attributes:
        steady, deploy_peak: connections, without the reserve; compared with the limit, they get it on top.
        limit: the most that the server, the role and the database allow.
        warn, critical: the lines for what is open on the whole server; strictly above is over.
    """

    plan: Plan
    steady: int
    deploy_peak: int
    limit: int | None = None
    warn: int | None = None
    critical: int | None = None

    @classmethod
    def of(cls, plan: Plan, server: Server | None) -> "Budget":
        budget = cls(plan, steady(plan), deploy_peak(plan))
        if server is None:
            return budget
        return replace(
            budget,
            limit=server.limit,
            warn=plan.warn.of(server.max_connections),
            critical=plan.critical.of(server.max_connections),
        )

    def too_many(self, connections: int) -> int:
        """By how much a sum and the reserve pass the limit; 0 when they fit, or nobody knows the limit."""
        if self.limit is None:
            return 0
        return max(0, connections + self.plan.reserve - self.limit)

    @property
    def sums(self) -> list["Sum"]:
        reserve, limit = self.plan.reserve, self.limit
        return [
            Sum(label, level, total, total + reserve, None if limit is None else limit - reserve - total)
            for label, level, total in (
                ("steady", "critical", self.steady),
                ("while a deploy overlaps", "critical" if self.plan.surge else "warning", self.deploy_peak),
            )
        ]

    def as_json(self) -> dict[str, Any]:
        known = self.limit is not None
        return {
            "roles": [_role_as_json(role) for role in self.plan.roles],
            "commands": self.plan.commands,
            "reserve": self.plan.reserve,
            "steady": self.steady,
            "deploy_peak": self.deploy_peak,
            "limit": self.limit,
            "thresholds": {"warn": self.warn, "critical": self.critical} if known else None,
            "instances_that_fit": None if self.limit is None else instances_that_fit(self.plan, self.limit),
        }


def _role_as_json(role: Role) -> dict[str, Any]:
    """`min` and `max` are what one instance opens, `connections` what all instances of the role may."""
    return {
        "role": role.name,
        "instances": role.instances,
        "processes": role.processes,
        "connections": of_role(role),
        "pools": [
            {
                "name": pool.name,
                "min": pool.min * role.processes,
                "max": pool.max * role.processes,
                "per_process_max": pool.max,
            }
            for pool in role.pools
        ],
        "outside_pools": len(role.outside),
    }


def largest_that_fits(plan: Plan, variable: str, limit: int, total: Callable[[Plan], int]) -> int | None:
    """The largest value of a variable with which a sum and the reserve are within the limit.

    Values that the plan does not take are passed over as too small: of a maximum, those are the ones under
    its minimum or its shares.
    """
    low, high, found = 1, limit, None
    while low <= high:
        value = (low + high) // 2
        try:
            changed = plan.what_if({variable: str(value)})
        except ValueError:
            low = value + 1
            continue
        if total(changed) + changed.reserve <= limit:
            found, low = value, value + 1
        else:
            high = value - 1
    return found
