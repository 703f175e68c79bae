"""A report as lines for people: the plan beside what is open, the budget, and the findings."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from django.utils.termcolors import colorize

from healthcheck.budget import Budget, Role, each_process, names, of_role
from healthcheck.report import Report

NARROWEST, WIDEST = 60, 100  # columns that running text is wrapped to
OTHERS = 5  # names of other services that are listed

STYLES: dict[str, dict] = {
    "heading": {"opts": ("bold",)},
    "quiet": {"opts": ("dim",)},
    "ok": {"fg": "green"},
    "warning": {"fg": "yellow", "opts": ("bold",)},
    "critical": {"fg": "red", "opts": ("bold",)},
    "unknown": {"fg": "red", "opts": ("bold",)},
}
Paint = Callable[[str, str], str]

PLANNED = "{:<21}{:>11}{:>11}{:>9}"
OPEN = "{:>8}{:>7}{:>6}{:>7}"


def coloured(style: str, text: str) -> str:
    return colorize(text, **STYLES[style])


def plain(style: str, text: str) -> str:
    return text


def report_lines(report: Report, paint: Paint, width: int) -> Iterator[str]:
    """The whole report."""
    server = f"PostgreSQL {report.server.version}" if report.server else "a server that could not be asked"
    title = f"{report.application}: {report.plan.environment} plan on {server}"
    yield paint("heading", title)
    yield ""
    yield from connection_lines(report, paint)
    yield ""
    yield from budget_lines(report.budget, paint)
    if report.live:
        yield f"  {'open on the server now':<24}{report.live.total:>14}   " + paint(
            "quiet", f"warning above {report.budget.warn}, critical above {report.budget.critical}"
        )
    yield ""
    yield from finding_lines(report, paint, width)


def connection_lines(report: Report, paint: Paint) -> Iterator[str]:
    """What each name may have on the server, beside what it has."""
    live = report.live.by_name() if report.live else None

    def row(planned: tuple[object, ...], states: Mapping[str | None, int] | None, most: int | None) -> str:
        text = PLANNED.format(*planned)
        if live is None:
            return text
        counts = Counter(states or {})
        is_over = most is not None and counts.total() > most
        in_transaction = sum(n for state, n in counts.items() if state and state.startswith("idle in"))
        shown = OPEN.format(counts.total(), counts["active"], counts["idle"], in_transaction)
        return text + (paint("warning", shown) if is_over else shown)

    heading = PLANNED.format("connections", "per process", "processes", "planned")
    yield paint("heading", heading + (OPEN.format("open", "active", "idle", "in tx") if report.live else ""))
    planned_names = names(report.plan, report.application)
    seen = dict(live or {})

    for role in report.plan.roles:
        processes = role.instances * role.processes
        total: Counter[str | None] = Counter()
        lines = []
        for pool in role.pools:
            name = f"{report.application}/{role.name}/{pool.name}"
            listens = sum(1 for outside in role.outside if outside.split()[0] == pool.name)
            each = f"{pool.min}–{pool.max}" + (f" + {listens}" if listens else "")
            states = seen.pop(name, Counter())
            total += states
            lines.append(
                row((f"  {pool.name}", each, processes, planned_names[name]), states, planned_names[name])
            )
        for outside in role.outside:
            name = f"{report.application}/{role.name}/{outside}"
            if name in planned_names:
                states = seen.pop(name, Counter())
                total += states
                lines.append(
                    row((f"  {outside}", 1, processes, planned_names[name]), states, planned_names[name])
                )
        planned = (_role_title(role), each_process(role), processes, of_role(role))
        yield paint("heading", row(planned, total, None))
        yield from lines

    name = f"{report.application}/command"
    yield row(("one-off commands", "", "", planned_names[name]), seen.pop(name, None), planned_names[name])
    others: Counter[str | None] = sum(seen.values(), Counter())
    yield row(("everybody else", "", "reserve", report.plan.reserve), others, None)
    by_size = sorted(seen.items(), key=lambda item: -item[1].total())
    for name, states in by_size[:OTHERS]:
        yield row((f"  {name or '(no name)'}"[:33], "", "", ""), states, None)
    if len(by_size) > OTHERS:
        yield paint("quiet", f"  and {len(by_size) - OTHERS} names more")


def _role_title(role: Role) -> str:
    return role.name if role.instances == 1 else f"{role.name}, {role.instances} instances"


def budget_lines(budget: Budget, paint: Paint) -> Iterator[str]:
    """The sums, with the reserve, beside the limit."""
    reserve = budget.plan.reserve
    yield paint("heading", f"{'budget':<26}{'connections':>14}{'+ reserve':>12}{'limit':>8}")
    for label, total in (("steady", budget.steady), ("while a deploy overlaps", budget.deploy_peak)):
        row = f"  {label:<24}{total:>14}{total + reserve:>12}{_known(budget.limit):>8}   "
        yield row + _verdict(budget, total, paint)


def _verdict(budget: Budget, total: int, paint: Paint) -> str:
    if budget.limit is None:
        return ""
    if over := budget.too_many(total):
        is_critical = total == budget.steady or budget.plan.surge
        return paint("critical" if is_critical else "warning", f"{over} too many")
    return paint("ok", f"{budget.limit - budget.plan.reserve - total} to spare")


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def finding_lines(report: Report, paint: Paint, width: int) -> Iterator[str]:
    if not report.findings:
        yield paint("ok", "Nothing to find fault with.")
    width = max(NARROWEST, min(width, WIDEST))
    for finding in report.findings:
        yield paint(finding.level, f"{finding.level} {finding.id}")
        for mark, text in (("  ", finding.message), ("→ ", finding.hint)):
            yield from textwrap.wrap(
                text, width, initial_indent=f"  {mark}", subsequent_indent="    ", break_on_hyphens=False
            )


def comparison_lines(
    now: Report, then: Report, changes: Mapping[str, str], paint: Paint, width: int
) -> Iterator[str]:
    """The sum of two plans, line by line beside each other."""
    row = "{:<34}{:>10}{:>10}{:>10}"

    def line(label: str, before: int, after: int) -> str:
        if after == before:
            return row.format(label, before, after, "").rstrip()
        return paint("heading", row.format(label, before, after, f"{after - before:+}"))

    yield paint("heading", "What if " + " ".join(f"{name}={value}" for name, value in changes.items()))
    yield ""
    yield paint("heading", row.format("connections", "now", "what if", "").rstrip())
    for before, after in zip(now.plan.roles, then.plan.roles, strict=True):
        yield before.name
        for old, new in zip(before.pools, after.pools, strict=True):
            yield line(f"  {old.name}, at most", old.max, new.max)
        for outside in before.outside:
            yield line(f"  {outside}", 1, 1)
        yield line("  = each process", each_process(before), each_process(after))
        yield line("  × processes", before.processes, after.processes)
        yield line("  × instances", before.instances, after.instances)
        yield line(f"  = {before.name}", of_role(before), of_role(after))
    yield line("one-off commands", now.plan.commands, then.plan.commands)
    yield line("= steady", now.budget.steady, then.budget.steady)
    yield line("while a deploy overlaps", now.budget.deploy_peak, then.budget.deploy_peak)
    yield line("reserve, to come on top", now.plan.reserve, then.plan.reserve)
    yield ""
    yield from budget_lines(then.budget, paint)
    yield ""
    yield from finding_lines(then, paint, width)
