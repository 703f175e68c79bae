"""What was measured against what was promised, as Markdown."""

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.load.bench import Run

PACKAGES = (
    "django",
    "uvicorn",
    "uvloop",
    "httptools",
    "psycopg",
    "fastapi",
    "sqlalchemy",
    "asyncpg",
    "litestar",
    "django-bolt",
    "langgraph",
    "langgraph-checkpoint-postgres",
)


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    row: str
    measured: str
    goal: str
    met: bool
    spread: str


@dataclass(frozen=True)
class Figures:
    """All rounds of one server in one situation."""

    row: str
    server: str
    connections: int
    runs: Sequence[Run]

    def median(self, name: str) -> float:
        return statistics.median(getattr(run, name) for run in self.runs)

    def most(self, name: str) -> int:
        return max(getattr(run, name) for run in self.runs)


def compare(
    row: str, values: Sequence[float], goal: float, *, most: bool = False, unit: str = "×"
) -> Finding:
    """Judge the median of one value for each round; at least `goal`, or with `most` at most."""

    def text(value: float) -> str:
        return f"{value:.0%}" if unit == "%" else f"{value:.3g} {unit}".strip()

    median = statistics.median(values)
    return Finding(
        row,
        text(median),
        f"{'≤' if most else '≥'} {text(goal)}" if goal else text(goal),
        median <= goal if most else median >= goal,
        f"{text(min(values))} to {text(max(values))}",
    )


def ratio(ours: Figures, theirs: Figures, name: str) -> list[float]:
    """Ours through theirs, within each round; a peer that did not answer at all counts as a very small number."""
    pairs = zip(ours.runs, theirs.runs, strict=True)
    return [getattr(our, name) / max(getattr(their, name), 1e-3) for our, their in pairs]


def markdown(findings: Sequence[Finding], figures: Sequence[Figures], method: str, postgres: str) -> str:
    now = datetime.datetime.now(tz=datetime.UTC)
    lines = [
        f"{now:%Y-%m-%d %H:%M} UTC, {machine()}; {versions()}, PostgreSQL {postgres}.",
        method,
        "",
        "| what | measured | goal | met | smallest to largest of the rounds |",
        "|---|---:|---:|---|---|",
        *(
            f"| {f.row} | {f.measured} | {f.goal} | {'yes' if f.met else '**no**'} | {f.spread} |"
            for f in findings
        ),
        "",
        "| row | server | connections | answered/s | p50 ms | p99 ms | failed | in use / open at most |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {f.row} | {f.server} | {f.connections} | {f.median('rate'):,.0f}"
            f" | {f.median('p50') * 1000:,.1f} | {f.median('p99') * 1000:,.1f} | {f.most('failed')}"
            f" | {f.most('in_use')} / {f.most('open')} |"
            for f in figures
        ),
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found[1] if found else platform.machine()
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions() -> str:
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout
    packages = (f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    wrk = said.split("[", maxsplit=1)[0].replace("debian/", "").strip()
    return f"Python {platform.python_version()}, {', '.join(packages)}, {wrk}"
