"""The roadmaps of the streams' row, and their steps, from a process of its own.

`python -m tests.load.steps make COUNT` prints a JSON list of roadmaps' ids and their owners' tokens;
`python -m tests.load.steps record RATE SECONDS`, with that list on standard input, records so many steps per second
for these roadmaps in turn, and prints how many.
"""

import json
import os
import sys
import time
import uuid

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "roadmap.settings")

import django

django.setup()

from django.db import connection  # noqa: E402  # the settings come first

from roadmap.runs import events  # noqa: E402
from tests.load.owned import make  # noqa: E402

STRIDE = 1_009  # a prime: neighbours in the list are not neighbours in time


def record(roadmaps: list[uuid.UUID], rate: float, seconds: float) -> int:
    """Each step says when it was begun, on the clock that all processes of the machine share."""
    began = time.monotonic()
    count = round(rate * seconds)
    connection.ensure_connection()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        roadmap_id = roadmaps[number * STRIDE % len(roadmaps)]
        events.record(roadmap_id, "status", {"status": "writing", "began": time.monotonic()})
    return count


def main() -> None:
    match sys.argv[1:]:
        case ["make", count]:
            print(json.dumps([(str(roadmap.pk), token) for roadmap, token in make(int(count))]))
        case ["record", rate, seconds]:
            roadmaps = [uuid.UUID(roadmap_id) for roadmap_id, _ in json.load(sys.stdin)]
            print(json.dumps(record(roadmaps, float(rate), float(seconds))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
