"""Joins: unique addresses, at 50, 200 and 1,000 connections."""

from tests.load.bench import Bench, Run
from tests.load.servers import OURS
from tests.load.table import Figures, Finding, compare, ratio

CONNECTIONS = (50, 200, 1000)
FRAMEWORKS = ("FastAPI", "Litestar", "django-bolt")
SERVERS = (OURS, "near limit", *FRAMEWORKS, "seed stack", "ceiling")


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    runs: dict[tuple[str, int], list[Run]] = {(name, c): [] for name in SERVERS for c in CONNECTIONS}
    for number in range(bench.rounds):
        for name in bench.order(SERVERS, number):
            with bench.running(name) as target:
                for connections in CONNECTIONS:
                    runs[name, connections].append(bench.measure(target, "join", connections))
    figures = {key: Figures("joins", *key, measured) for key, measured in runs.items()}
    return judge(figures), list(figures.values())


def judge(figures: dict[tuple[str, int], Figures]) -> list[Finding]:
    findings = []
    for connections in CONNECTIONS:
        ours = figures[OURS, connections]
        what = f"joins at {connections:,} connections"
        # Of the frameworks each round's fastest: the service must beat the best of them every time.
        frameworks = zip(
            *(ratio(ours, figures[name, connections], "rate") for name in FRAMEWORKS), strict=True
        )
        findings += [
            compare(f"{what}: seed stack", ratio(ours, figures["seed stack", connections], "rate"), 20),
            compare(f"{what}: fastest framework", [min(ratios) for ratios in frameworks], 2.5),
            compare(
                f"{what}: near limit", ratio(ours, figures["near limit", connections], "rate"), 0.8, unit="%"
            ),
            compare(f"{what}: failed", [run.failed for run in ours.runs], 0, most=True, unit=""),
            compare(
                f"{what}: database connections in use",
                [run.in_use for run in ours.runs],
                3,
                most=True,
                unit="",
            ),
        ]
    slowest = ratio(figures[OURS, 1000], figures["seed stack", 1000], "p99")
    return [
        *findings,
        compare("joins at 1,000 connections: p99 to the seed stack’s", slowest, 0.1, most=True, unit="%"),
    ]
