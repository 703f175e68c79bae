"""The plan beside what is open, row by row, for the terminal and for the admin."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from healthcheck.budget import Share, each_process, of_role, shares
from healthcheck.report import Report

OTHERS = 5  # names of other services that get a row of their own

States = Counter[str | None]


@dataclass(frozen=True)
class Row:
    """Connections that belong together: a role's, a pool's, or those of other services.

    Attributes:
        each: what one process may open, in words.
        planned: the most; None where the plan says nothing.
        states: what is open by state; None if the server could not be asked.
    """

    label: str
    kind: Literal["group", "part"]
    each: str = ""
    processes: int | None = None
    planned: int | None = None
    states: States | None = None

    @property
    def open(self) -> int:
        return self.states.total() if self.states else 0

    @property
    def active(self) -> int:
        return self.states["active"] if self.states else 0

    @property
    def idle(self) -> int:
        return self.states["idle"] if self.states else 0

    @property
    def in_transaction(self) -> int:
        """Idle in a transaction, which may have failed."""
        if not self.states:
            return 0
        return sum(count for state, count in self.states.items() if state and state.startswith("idle in"))

    @property
    def is_over(self) -> bool:
        return self.planned is not None and self.open > self.planned


def connection_rows(report: Report) -> Iterator[Row]:
    """Every role with its pools, the one-off commands, and everybody else, for whom the reserve is."""
    left = report.live.by_name() if report.live else None

    def take(name: str) -> States | None:
        return None if left is None else left.pop(f"{report.application}/{name}", Counter())

    for role in report.plan.roles:
        processes = role.instances * role.processes
        parts = [
            Row(name, "part", _words(share), processes, processes * share.most, take(f"{role.name}/{name}"))
            for name, share in shares(role).items()
        ]
        title = role.name if role.instances == 1 else f"{role.name}, {role.instances} instances"
        row = Row(title, "group", str(each_process(role)), processes, of_role(role))
        yield row if left is None else replace(row, states=_sum([part.states for part in parts]))
        yield from parts
    yield Row("one-off commands", "group", planned=report.plan.commands, states=take("command"))
    reserve = Row("everybody else", "group", each="reserve", planned=report.plan.reserve)
    if left is None:
        yield reserve
        return
    yield replace(reserve, states=_sum(list(left.values())))
    by_size = sorted(left.items(), key=lambda item: (-item[1].total(), item[0]))
    for name, states in by_size[:OTHERS]:
        yield Row(name or "(no name)", "part", states=states)
    if rest := by_size[OTHERS:]:
        yield Row(f"{len(rest)} names more", "part", states=_sum([states for _, states in rest]))


def _sum(parts: list[States | None]) -> States:
    total: States = Counter()
    for part in parts:
        total.update(part or {})
    return total


def _words(share: Share) -> str:
    if not share.max:
        return str(share.outside)
    return f"{share.min}–{share.max}" + (f" + {share.outside}" if share.outside else "")
