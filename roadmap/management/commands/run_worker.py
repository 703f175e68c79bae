"""`manage.py run_worker`: the worker's processes."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from roadmap.server import worker_process


class Command(BaseCommand):
    help = "Runs the worker until SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        worker_process.run_all(settings.CONNECTION_PLAN.worker.processes)
