"""The service's settings with pages that take long, for tests of what happens meanwhile."""

from roadmap.settings import *  # noqa: F403  # all of them

ROOT_URLCONF = "tests.slow_urls"
