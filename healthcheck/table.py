"""A report as lines for people: the plan beside what is open, the budget, and the findings."""

import textwrap
from collections.abc import Callable, Iterator, Mapping

from django.utils.termcolors import colorize

from healthcheck.budget import Budget, each_process, of_role
from healthcheck.report import Report
from healthcheck.rows import connection_rows

NARROWEST, WIDEST = 60, 100  # columns that running text is wrapped to

STYLES: dict[str, dict] = {
    "heading": {"opts": ("bold",)},
    "ok": {"fg": "green"},
    "warning": {"fg": "yellow", "opts": ("bold",)},
    "critical": {"fg": "red", "opts": ("bold",)},
    "unknown": {"fg": "red", "opts": ("bold",)},
}
Paint = Callable[[str, str], str]

PLANNED = "{:<21}{:>11}{:>11}{:>9}"
NAMES = 52  # the width of the same columns, for a name that has nothing planned
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
        row = f"  {'open on the server now':<24}{report.live.total:>14}   "
        yield row + f"warning above {report.budget.warn}, critical above {report.budget.critical}"
    yield ""
    yield from finding_lines(report, paint, width)


def connection_lines(report: Report, paint: Paint) -> Iterator[str]:
    """What each name may have on the server, beside what it has."""
    heading = PLANNED.format("connections", "per process", "processes", "planned")
    if report.live:
        heading += OPEN.format("open", "active", "idle", "in tx")
    yield paint("heading", heading)
    for row in connection_rows(report):
        label = row.label if row.kind == "group" else f"  {row.label}"
        if row.planned is None:
            planned = f"{label[:NAMES]:<{NAMES}}"
        else:
            planned = PLANNED.format(label, row.each, row.processes or "", row.planned)
            if row.kind == "group":
                planned = paint("heading", planned)
        if row.states is None:
            yield planned
            continue
        shown = OPEN.format(row.open, row.active, row.idle, row.in_transaction)
        yield planned + (paint("warning", shown) if row.is_over else shown)


def budget_lines(budget: Budget, paint: Paint) -> Iterator[str]:
    """The sums, with the reserve, beside the limit."""
    limit = "" if budget.limit is None else f"{'limit':>8}"
    yield paint("heading", f"{'budget':<26}{'connections':>14}{'+ reserve':>12}{limit}")
    for row in budget.sums:
        line = f"  {row.label:<24}{row.connections:>14}{row.with_reserve:>12}"
        if row.spare is not None:
            style = "ok" if row.spare >= 0 else row.level
            line += f"{budget.limit:>8}   {paint(style, row.verdict)}"
        yield line


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
