"""The service's settings, with the lane's paths a second time under /reference, answered by Django's own stack."""

from roadmap.settings import *  # noqa: F403  # all of them

ROOT_URLCONF = "tests.reference_urls"
CSRF_TRUSTED_ORIGINS = ["https://shop.example", "https://*.partner.example"]
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", ".waitlist.example"]
