"""The service's settings with one page more: the ORM page of the load tests."""

from pathlib import Path

from roadmap.settings import *  # noqa: F403
from roadmap.settings import TEMPLATES

ROOT_URLCONF = "tests.load.urls"
TEMPLATES[0]["DIRS"] = [Path(__file__).parent / "templates"]
