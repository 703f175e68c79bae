#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from roadmap.server import role


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")
    if sys.argv[1:2] == ["run_worker"]:
        role.become("worker")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(4 if sys.argv[1:2] == ["check_pools"] else 1)  # 1 is a verdict of check_pools


if __name__ == "__main__":
    main()
