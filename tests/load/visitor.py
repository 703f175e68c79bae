"""A visitor: the landing page, its CSS, the form, the page after it; and the landing page alone."""

import re

import httpx

from tests.load.bench import Bench, Run
from tests.load.servers import OURS
from tests.load.table import Figures, Finding, compare, ratio

CONNECTIONS = 50
STEPS = 4
STYLES = re.compile(r'<link rel="stylesheet" href="([^"]+)"')


def measure(bench: Bench) -> tuple[list[Finding], list[Figures]]:
    visits: dict[str, list[Run]] = {OURS: [], "stock Django": []}
    landings: dict[str, list[Run]] = {OURS: [], "ceiling": []}
    for number in range(bench.rounds):
        for name in bench.order((OURS, "stock Django", "ceiling"), number):
            with bench.running(name) as target:
                if name in visits:
                    visits[name].append(bench.measure(target, "visit", CONNECTIONS, css(target.url)))
                if name in landings:
                    landings[name].append(bench.measure(target, "get", CONNECTIONS, "/"))
    visit = {
        name: Figures("visitor, its four requests", name, CONNECTIONS, runs) for name, runs in visits.items()
    }
    landing = {name: Figures("GET /", name, CONNECTIONS, runs) for name, runs in landings.items()}
    findings = [
        compare("visitor: stock Django", ratio(visit[OURS], visit["stock Django"], "rate"), 20),
        compare("visitor: failed", [run.failed for run in visit[OURS].runs], 0, most=True, unit=""),
        compare("GET /: ceiling", ratio(landing[OURS], landing["ceiling"], "rate"), 0.6, unit="%"),
    ]
    return findings, [*visit.values(), *landing.values()]


def css(url: str) -> str:
    """The path of the landing page's CSS, after one visit has shown that all four steps work.

    Raises:
        AssertionError: a step does not.
    """
    with httpx.Client(base_url=url) as visitor:
        found = STYLES.search(visitor.get("/").text)
        assert found, "the landing page has no CSS"
        assert visitor.get(found[1]).status_code == 200
        joined = visitor.post(
            "/", data={"email": "visitor@example.com", "source": ""}, headers={"Origin": url}
        )
        assert joined.status_code == 303, f"joining by the form got {joined.status_code}"
        assert visitor.get(joined.headers["Location"]).status_code == 200
    return found[1]
