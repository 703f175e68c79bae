"""`.env.example` says what the plan says."""

import re

from roadmap import plan
from tests.service import PROJECT

LINE = re.compile(r"^# ([A-Z_]+)=([^\s#]+)(?:  # (\S+))?$", re.MULTILINE)


def test_it_lists_every_number_of_the_plan_with_both_defaults() -> None:
    listed = {
        name: (production, development or production)
        for name, production, development in LINE.findall((PROJECT / ".env.example").read_text())
        if name in plan.DEFAULTS
    }
    assert listed == {name: (str(first), str(second)) for name, (first, second) in plan.DEFAULTS.items()}


def test_it_lists_the_thresholds() -> None:
    text = (PROJECT / ".env.example").read_text()
    assert {
        name: value for name, value, _ in LINE.findall(text) if name in plan.THRESHOLDS
    } == plan.THRESHOLDS
