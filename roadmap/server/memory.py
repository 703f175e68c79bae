"""When Python looks for garbage: seldom, and never through what stays."""

import gc

THRESHOLD = 50_000  # objects made and not yet gone, after which the young ones are looked through


def settle() -> None:
    """To be called once all is loaded that a process keeps.

    A look through all modules stops the event loop for a tenth of a second, and comes the more often the more
    requests or runs are under way. A thousand joins that wait for their commit are no garbage either.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD, *gc.get_threshold()[1:])
