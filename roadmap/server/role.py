"""Which kind of process this is; set once by the entry point, before the settings are read.

It decides what this process may open: `web` and `worker` have pools, a `command` connects without one.
"""

from typing import Literal

Role = Literal["web", "worker", "command"]
current: Role = "command"


def become(role: Role) -> None:
    global current
    current = role
