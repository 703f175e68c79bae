"""Overload: pages offered at ten times what the service can do, and joins from 5,000 connections at once.

The peak is measured by the same client, with as many connections as suit the service; before and after, since the
machine itself may be a third faster in one half minute than in the next.
"""

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.load.activity import watched
from tests.load.bench import Bench, Run, Target
from tests.load.pages import ENTRIES
from tests.load.servers import OURS, PAGE
from tests.load.table import Figures, Finding, compare
from tests.service import PROJECT, Service

SECONDS = 20.0  # of overload, whatever the rounds are
END = 60.0  # seconds that the client may take longer
WARM_UP = 1.0
AFTER = 5.0  # seconds until it must be as if nothing had been
MOST_MEMORY = 200.0  # MiB


@dataclass(frozen=True)
class Case:
    """What is offered. `times`: at so many times the peak; 0: as fast as the answers come."""

    name: str
    kind: str
    peak_connections: int
    connections: int
    times: float
    deadline: float  # seconds


CASES = (
    Case("pages at 10 × capacity", PAGE, 50, 4000, 10.0, 5.0),
    Case("joins from 5,000 connections", "join", 200, 5000, 0.0, 2.0),
)


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    findings: list[Finding] = []
    figures: list[Figures] = []
    for case in CASES:
        peaks, floods, grown, left = list[list[Flood]](), [], list[float](), list[int]()
        for _ in range(bench.rounds):
            with bench.running(OURS) as target:
                target.fill(ENTRIES)
                flood(target, case, case.peak_connections, 0, WARM_UP)
                peak = flood(target, case, case.peak_connections, 0, bench.seconds)
                before = memory(target)
                floods.append(flood(target, case, case.connections, case.times * peak.rate, SECONDS))
                grown.append(memory(target) - before)
                time.sleep(AFTER)
                left.append(what_is_left(target))
                peaks.append([peak, flood(target, case, case.peak_connections, 0, bench.seconds)])
        findings += judge(case, peaks, floods)
        findings += [
            compare(f"{case.name}: memory grown", grown, MOST_MEMORY, most=True, unit="MiB"),
            compare(f"{case.name}: at work or waiting {AFTER:g} s later", left, 0, most=True, unit=""),
        ]
        refused = statistics.median(flood.refused / (flood.offered * SECONDS) for flood in floods)
        figures += [
            Figures(
                f"{case.name}: peak", OURS, case.peak_connections, [one.run for pair in peaks for one in pair]
            ),
            Figures(
                f"{case.name}: {refused:.0%} refused", OURS, case.connections, [flood.run for flood in floods]
            ),
        ]
    return findings, figures


@dataclass(frozen=True)
class Flood:
    """What became of what was offered; times in seconds, for every kind of answer."""

    run: Run
    offered: float  # per second
    slowest: float
    refused: int  # 503 with Retry-After

    @property
    def rate(self) -> float:
        return self.run.rate


def memory(target: Target) -> float:
    """MiB that the service's process has in memory."""
    assert isinstance(target.server, Service)
    (pid,) = target.server.worker_pids()
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def what_is_left(target: Target) -> int:
    """Threads, connections and joins that are not at rest."""
    assert isinstance(target.server, Service)
    health = target.server.health()
    threads, joins = health["threads"], health["joins"]
    used = sum(pool["used"] for pool in health["pools"].values())
    return int(threads["busy"] + threads["waiting"] + joins["backlog"] + used)


def judge(case: Case, peaks: list[list[Flood]], floods: list[Flood]) -> list[Finding]:
    pairs = [(statistics.mean(one.rate for one in peak), o) for peak, o in zip(peaks, floods, strict=True)]
    findings = [
        compare(f"{case.name}: goodput to the peak", [o.rate / peak for peak, o in pairs], 0.9, unit="%"),
        compare(
            f"{case.name}: neither answered nor refused",
            [o.run.failed for o in floods],
            0,
            most=True,
            unit="",
        ),
        compare(
            f"{case.name}: slowest answer", [o.slowest for o in floods], case.deadline, most=True, unit="s"
        ),
    ]
    if case.times:
        # Callers that wait for an answer offer nothing meanwhile, so a little less than planned is offered.
        offered = [o.offered / peak for peak, o in pairs]
        findings.insert(0, compare(f"{case.name}: offered to the peak", offered, case.times * 0.9))
    return findings


def flood(target: Target, case: Case, connections: int, rate: float, seconds: float) -> Flood:
    arguments = [target.url.removeprefix("http://"), case.kind, str(connections), str(rate), str(seconds)]
    with watched(target.superuser_url, target.database) as most:
        done = subprocess.run(
            [sys.executable, "-m", "tests.load.flood", *arguments],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=seconds + END,
            check=False,
        )
    if done.returncode or done.stderr:
        raise RuntimeError(f"The client ended with {done.returncode}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    nothing = {"count": 0, "p50": 0.0, "p99": 0.0}
    answered: dict[str, Any] = result["statuses"].get("202" if case.kind == "join" else "200", nothing)
    refused = result["statuses"].get("503", {"count": 0})["count"] - result["bare"]
    run = Run(
        rate=result["good"] / seconds,
        p50=answered["p50"],
        p99=answered["p99"],
        failed=result["sent"] - answered["count"] - refused,
        answered=answered["count"],
        in_use=most.in_use,
        open=most.open,
    )
    slowest = max((times["slowest"] for times in result["statuses"].values()), default=0.0)
    return Flood(run, result["sent"] / seconds, slowest, refused)
