"""Stock Django: the service's settings and middleware, Django's own pool of 50."""

from tests.load.settings import *  # noqa: F403
from tests.load.settings import DATABASES

ROOT_URLCONF = "tests.load.peers.stock_urls"
DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 50, "max_size": 50, "timeout": 60}
