"""An ORM page: a query and a template behind the shipped middleware."""

from tests.load.bench import Bench, Run
from tests.load.servers import OURS, PAGE
from tests.load.table import Figures, Finding, compare, ratio

ENTRIES = 1_000
GOALS = {50: (1.8, 1 / 2), 200: (2.0, 1 / 4)}  # by connections: rate and p99, to stock Django's


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    servers = (OURS, "stock Django")
    runs: dict[tuple[str, int], list[Run]] = {(name, c): [] for name in servers for c in GOALS}
    for number in range(bench.rounds):
        for name in bench.order(servers, number):
            with bench.running(name) as target:
                target.fill(ENTRIES)
                for connections in GOALS:
                    runs[name, connections].append(bench.measure(target, "get", connections, PAGE))
    figures = {key: Figures("ORM page", *key, measured) for key, measured in runs.items()}
    findings = []
    for connections, (rate, p99) in GOALS.items():
        ours, stock = figures[OURS, connections], figures["stock Django", connections]
        what = f"ORM page at {connections} connections"
        findings += [
            compare(f"{what}: stock Django", ratio(ours, stock, "rate"), rate),
            compare(f"{what}: p99 to stock Django’s", ratio(ours, stock, "p99"), p99, most=True, unit="%"),
            compare(f"{what}: failed", [run.failed for run in ours.runs], 0, most=True, unit=""),
        ]
    return findings, list(figures.values())
