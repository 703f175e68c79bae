#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from roadmap.server import role


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")
    if sys.argv[1:2] == ["run_worker"]:
        role.become("worker")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
