"""`python -m roadmap.server`: the web server, by gunicorn.

gunicorn reads `WEB_CONCURRENCY` itself, before any configuration, and meets a bad one with a traceback; so it is
judged here first.
"""

import os
import sys

from roadmap import plan


def main() -> None:
    try:
        plan.read(os.environ)
    except plan.BadValue as error:
        sys.exit(str(error))
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
